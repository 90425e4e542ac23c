"""Cursors go back to the moment they were made of, and to nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import cursor
from bridge.cursor import Moment, Place


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    xmin = draw(st.integers(3, 2**40))
    xmax = xmin + draw(st.integers(0, 60))
    open_ = draw(st.sets(st.integers(xmin, xmax - 1))) if xmax > xmin else set()
    return Moment(xmin, xmax, tuple(sorted(open_)))


@given(moments(), st.text(), st.text())
def test_a_cursor_is_its_moment(moment: Moment, identity: str, topic: str) -> None:
    written = cursor.of_moment(identity, topic, moment)
    assert written is not None
    assert cursor.moment(written, identity, topic) == moment
    assert cursor.moment(written, identity, topic + "x") is None
    assert cursor.moment(written, identity + "x", topic) is None
    assert Moment.read(str(moment)) == moment


@given(st.text() | st.from_regex(r"s\.[0-9a-f.-]*", fullmatch=True))
def test_anything_else_is_none(text: str) -> None:
    assert cursor.moment(text, "identity", "topic") is None


@given(moments(), st.text(alphabet="s.0123456789abcdef-", max_size=3), st.integers(0, 60))
def test_a_cursor_that_was_tampered_with_is_none_or_a_moment(
    moment: Moment, inserted: str, place: int
) -> None:
    written = cursor.of_moment("identity", "topic", moment) or ""
    found = cursor.moment(written[:place] + inserted + written[place:], "identity", "topic")
    assert found is None or found.xmin <= found.xmax < 2**60


def test_where_too_many_transactions_are_open_there_is_no_cursor() -> None:
    crowd = Moment(10, 10_000, tuple(range(10, 9_000)))
    assert cursor.of_moment("identity", "topic", crowd) is None


@given(moments(), st.integers(0, 2**40 + 70))
def test_a_moment_sees_what_had_ended(moment: Moment, xid: int) -> None:
    assert moment.sees(xid) == (xid < moment.xmax and xid not in moment.xip)


@pytest.mark.parametrize(
    "place",
    [
        Place(0),
        Place(2**40),
        Place(7, ()),
        Place(7, ("2024-01-01T00:00:00", 'a"\n', "é")),
        Place(7, None, "12", 20),
        Place(7, ("1",), "", 20),
    ],
)
def test_a_place_comes_back(place: Place) -> None:
    written = cursor.of_place("history", "payments", place)
    assert written is not None
    assert cursor.place(written, "history", "payments") == place
    assert cursor.place(written, "another", "payments") is None
    assert cursor.place(written, "history", "payments/1") is None
    assert cursor.moment(written, "history", "payments") is None


def test_a_place_further_on_forgets_what_is_behind_it() -> None:
    assert Place(3, ("1",), "5", 10).at(9) == Place(9, None, "5", 10)
    assert Place(3, ("1",), "5", 10).at(10) == Place(10)


def test_a_place_that_would_be_too_long_has_no_cursor() -> None:
    assert cursor.of_place("history", "payments", Place(1, ("x" * 4000,))) is None


@given(st.text(), st.sampled_from("lh"), st.binary(max_size=60))
def test_a_place_made_up_is_none_or_a_place(text: str, kind: str, data: bytes) -> None:
    start = ".".join((cursor.of_place("history", "payments", Place(1)) or "").split(".")[1:3])
    made = urlsafe_b64encode(data).decode()
    for written in (text, f"{kind}.{start}.{text}", f"h.{start}.{made}"):
        assert isinstance(cursor.place(written, "history", "payments"), Place | None)
