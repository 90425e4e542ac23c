"""The oracle of log topics in chaos: it must notice what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.history import Histories, Order
from tests.chaos.reading import START, Reading, Wrong
from tests.chaos.schema import NEVER, Topic

TOPIC = Topic("groups/1/entries", "entries", {"grp": 1})


def subscribed(resumed: bool, log: str = "a") -> dict[str, Any]:
    return {"type": "subscribed", "resumed": resumed, "cursor": f"l.{log}.t.0"}


def event(id_: int, log: str = "a", grp: int = 1, note: str = "w") -> dict[str, Any]:
    row = {"id": id_, "grp": grp, "note": note}
    return {"type": "event", "row": row, "cursor": f"l.{log}.t.{id_}"}


def rows(*ids: int) -> dict[int, Any]:
    return {id_: {"id": id_, "grp": 1, "note": "w"} for id_ in ids}


def reading(order: Order, *ids: int) -> Reading:
    one = Reading(TOPIC, order)
    one.take(subscribed(resumed=True))
    for id_ in ids:
        one.take(event(id_))
    return one


def test_every_row_once_in_the_order_of_the_first() -> None:
    order = Order()
    first, second = reading(order, 5, 3, 9), reading(order, 5, 3)
    assert first.difference(rows(3, 5, 9)) is None
    assert "2 rows of 3; one that differs: 9" in str(second.difference(rows(3, 5, 9)))
    second.take(event(9))
    assert second.difference(rows(3, 5, 9)) is None
    assert second.difference(rows(3, 5, 8)) is not None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (event(5), "as number 3: it comes a second time"),
        (event(7, grp=2), "of another topic"),
        (event(7, note=NEVER), "rolled back"),
        (event(7, log="b"), "of another log than a"),
        (subscribed(resumed=False), "its place in the log was refused"),
        (subscribed(resumed=True, log="b"), "another log goes on"),
        ({"type": "error", "code": "unavailable"}, "cannot be read"),
    ],
)
def test_what_must_never_be_told(message: dict[str, Any], said: str) -> None:
    with pytest.raises(Wrong, match=said):
        reading(Order(), 5, 3).take(message)


def test_what_one_gets_that_others_got_otherwise() -> None:
    order = Order()
    reading(order, 5, 3)
    with pytest.raises(Wrong, match="others got row 5 in its place"):
        reading(order, 3)
    with pytest.raises(Wrong, match="with other values"):
        reading(order).take(event(5, note="x"))


def test_in_another_log_it_begins_again() -> None:
    one = reading(Order(), 5)
    one.take(subscribed(resumed=False, log="b"))
    assert (one.astray, one.since, one.complete) == (True, START, False)
    one.take(event(8, log="b"))  # is not counted: it will come again
    one.take(subscribed(resumed=True, log="b"))
    one.take(event(4, log="b"))
    assert one.difference(rows(4)) is None


def test_who_is_cut_off_goes_on_from_where_the_last_id_stood() -> None:
    one = reading(Order(), 5)
    one.mark()
    one.take(event(3))
    one.rewind()
    assert one.since == "l.a.t.5"
    one.take(event(3))
    assert one.difference(rows(3, 5)) is None


def test_versions_belong_to_the_history_that_they_are_not_before() -> None:
    histories = Histories()
    histories.begin("5")
    assert [histories.of(version) for version in ("4.9", "5", "5.1")] == [0, 1, 1]
