"""Why somebody did not get it: each way that a change can take, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.changes import Change, Operation
from bridge.tables import Column, Table
from bridge.topics import Template
from bridge.trace import Kind, Step, Trace
from bridge.why import Row, Standing, answer, filters, topics

ID = Column("id", "integer", 23)
OWNER = Column("owner", "text", 25)
TEMPLATES = tuple(map(Template.parse, ("goods", "goods/{id}", "owners/{owner}/goods")))
GOODS = Table("goods", "public", "goods", 1, (ID,), ("id",), TEMPLATES, (OWNER,))
KEY = ("7",)
HERE = Standing(Row.PRESENT, ("7", "a/b"))
CHANGE = Change("goods", KEY, Operation.UPDATE)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def traced(capacity: int = 100) -> Trace:
    return Trace(Clock(), capacity)


def why(trace: Trace, standing: Standing = HERE, table: Table = GOODS, followers: int = 1) -> str:
    steps = list(trace.about(table.name, KEY, topics(table, KEY, standing)))
    return answer(table, steps, standing, followers)


def test_a_change_is_sent() -> None:
    trace = traced()
    trace.seen(CHANGE, followed=True)
    assert why(trace) == "A change arrived and waits to be read, at most 1 s."
    trace.keys(Kind.READ, "goods", [KEY])
    assert why(trace) == "It was read, and nobody followed a topic that holds it."
    trace.told("goods", KEY, "goods/7", "update", [1, 2, 3], 2)
    assert why(trace) == (
        "Sent as update to 3 subscribers of goods/7, 1 of them with the snapshot they wait for."
    )
    trace.repeated("goods", KEY, "goods/7")
    assert "told last: nothing to send" in why(trace)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind.UNWANTED, "nobody followed a topic of this key"),
        (Kind.GONE, "there is no such row"),
        (Kind.REFUSED, "cannot be read"),
        (Kind.FAILED, "tried again"),
    ],
)
def test_a_change_is_not_sent(kind: Kind, said: str) -> None:
    trace = traced()
    trace.keys(kind, "goods", [("6",), KEY, ("8",)])
    assert said in why(trace)


def test_nobody_followed_the_table() -> None:
    trace = traced()
    trace.seen(CHANGE, followed=False)
    assert "nobody followed the table" in why(trace)


def test_a_row_that_does_not_meet_where_is_in_no_topic() -> None:
    trace = traced()
    trace.told("goods", KEY, "goods", "delete", [1], 1)
    assert "does not meet `where`" in why(trace, Standing(Row.FILTERED, ("7", "a")))


def test_a_topics_snapshot_is_about_rows_that_are_there() -> None:
    trace = traced()
    trace.gap(None)
    trace.snapshot("goods", "goods", [1])
    assert why(trace) == "Sent in a snapshot of goods to 1 subscriber."
    assert "no such row" in why(trace, Standing(Row.ABSENT))
    trace.found("goods", "owners/a%2Fb/goods", 1)
    assert "A read of owners/a%2Fb/goods found" in why(trace)


def test_who_was_denied_the_topic_is_remembered_with_it() -> None:
    trace = traced()
    trace.denied("goods", "goods/8", "ann")
    assert "denied" not in why(trace)
    trace.denied("goods", "owners/a%2Fb/goods", "ann")
    assert "nobody follows a topic that holds it. A token was denied" in why(trace, followers=0)
    assert "denied" not in why(trace, Standing(Row.UNKNOWN)), "no telling whose it is"


def test_silence_names_what_the_config_leaves_out() -> None:
    assert "did not fire" in why(traced())
    assert "see below" not in why(traced())
    narrow = replace(GOODS, operations=frozenset({"insert"}), changed=("id",), where="id > 0")
    assert "see below" in why(traced(), table=narrow)
    assert list(filters(narrow)) == ["where: id > 0", "operations: insert", "changed: id"]


def test_topics_are_those_that_can_be_told() -> None:
    assert topics(GOODS, KEY, HERE) == ["goods", "goods/7", "owners/a%2Fb/goods"]
    assert topics(GOODS, KEY, Standing(Row.ABSENT)) == ["goods", "goods/7"]
    assert topics(GOODS, KEY, Standing(Row.PRESENT, ("7", None))) == ["goods", "goods/7"]


def test_the_ring_is_bounded_and_says_from_when_it_knows() -> None:
    trace = traced(capacity=3)
    for _ in range(3):
        assert trace.since is None
        trace.seen(CHANGE, followed=True)
    trace.seen(CHANGE._replace(key=("8",)), followed=True)
    assert trace.since == 2.0
    assert [step.at for step in trace.about("goods", KEY, ())] == [2.0, 3.0]
    assert trace.totals["goods"]["changes"] == 4


def test_a_step_names_few_and_counts_all() -> None:
    trace = traced()
    trace.told("goods", KEY, "goods", "update", range(1000), 1000)
    (step,) = trace.about("goods", KEY, ())
    assert step == Step(1.0, Kind.TOLD, "goods", KEY, "goods", "update", (0, 1, 2, 3, 4), 1000)
    assert trace.totals["goods"]["messages"] == 1000


def test_other_tables_and_keys_are_left_out() -> None:
    trace = traced()
    trace.seen(CHANGE._replace(table="other"), followed=True)
    trace.seen(CHANGE._replace(key=("77",)), followed=True)
    trace.gap("other")
    assert list(trace.about("goods", KEY, ["goods"])) == []
