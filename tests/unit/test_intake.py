"""Which changes are kept to be read, and which end where they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge import wire
from bridge.changes import Change, Operation
from bridge.cursor import Moment
from bridge.flow import Flow, relays
from bridge.hub import Hub
from bridge.intake import Intake
from bridge.metrics import Metrics
from bridge.tables import Column, Parent, Table
from bridge.topics import Template
from bridge.trace import Kind, Trace
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from bridge.changes import Key, Mark
    from bridge.mailbox import Mailbox


def column(name: str) -> Column:
    return Column(name, "text", "text")


def table(name: str, topics: str, key: str = "id", above: str = "") -> Table:
    """Topics and the key's columns with blanks between them; `above` is what it refreshes."""
    parent = Parent(above, (column("up"),), (column("id"),)) if above else None
    templates, columns = map(Template.parse, topics.split()), map(column, key.split())
    routing = (column("customer"),) if "{customer}" in topics else ()
    return Table(
        name, "public", name, 1, tuple(columns), (), tuple(templates), routing, parent=parent
    )


TABLES = [
    table("orders", "orders orders/{id} by/{customer}"),
    table("places", "shops/{shop} shelves/{shelf}/{shop}", key="shop shelf"),
    # A part's own part names the part, and only a read tells which order that belongs to.
    table("items", "", above="orders"),
    table("notes", "", above="items"),
]


class Bench:
    def __init__(self) -> None:
        tables = {table.name: table for table in TABLES}
        self.flows = {name: Flow(table, relays(table, tables)) for name, table in tables.items()}
        self.hub, self.metrics = Hub(), Metrics()
        self.hub.routes.watch(TABLES)
        self.hub.resume()
        self.intake = Intake(self.hub, self.flows, self.metrics, lambda: 0.0)

    def join(self, topic: str, viewer: str | None = None) -> Mailbox:
        mailbox = self.hub.join(FakeSink(), wire.welcome("test", "0"), lambda _topic: viewer)
        self.hub.subscribe(mailbox, wire.Subscribe(topic))
        return mailbox

    def take(self, name: str, *keys: str, mark: Mark | None = None) -> None:
        """Changes of these keys, whose columns have blanks between them."""
        found = [Change(name, tuple(key.split()), Operation.UPDATE) for key in keys]
        self.intake.take(found, mark)

    def kept(self, name: str) -> set[Key]:
        return {dirty.key for dirty in self.flows[name].keys.take(1e9)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("topic", "name", "kept"),
    [
        ("orders/1", "orders", {"1"}),
        ("orders/3", "orders", set()),
        ("orders", "orders", {"1", "2"}),
        ("by/a", "orders", {"1", "2"}),
        ("orders/1", "items", {"1", "2"}),
        ("orders/1", "notes", set()),
        ("shops/7", "places", {"7 1"}),
        ("shelves/1/8", "places", {"8 1"}),
    ],
)
def test_a_key_is_kept_if_somebody_may_care(
    bench: Bench, topic: str, name: str, kept: set[str]
) -> None:
    keys = ["7 1", "8 1", "8 2"] if name == "places" else ["1", "2"]
    bench.take(name, *keys)
    assert not bench.kept(name)
    mailbox = bench.join(topic)
    bench.take(name, *keys)
    assert bench.kept(name) == {tuple(key.split()) for key in kept}
    bench.hub.leave(mailbox)
    bench.take(name, *keys)
    assert not bench.kept(name)


def test_a_key_is_kept_whoever_follows_it(bench: Bench) -> None:
    bench.join("orders/1", "a")
    leaving = bench.join("orders/1", "b")
    bench.hub.leave(leaving)
    bench.take("orders", "1", "2")
    assert bench.kept("orders") == {("1",)}


def test_a_key_is_kept_from_the_moment_that_somebody_asks_for_it(bench: Bench) -> None:
    """Its read may have begun before the change, and end after it."""
    bench.join("orders/1")
    assert bench.hub.requests(single=9, other=9, now=0.0)
    bench.take("orders", "1")
    assert bench.kept("orders") == {("1",)}


def test_what_is_dirty_takes_its_changes_whoever_has_left(bench: Bench) -> None:
    """Where the row was belongs to the key that is read for it."""
    mailbox = bench.join("by/a")
    bench.take("orders", "1")
    bench.hub.leave(mailbox)
    bench.intake.take([Change("orders", (key,), Operation.UPDATE, ("a",)) for key in "12"])
    (dirty,) = bench.flows["orders"].keys.take(1e9)
    assert (dirty.key, dirty.old) == (("1",), {("a",)})


def test_a_key_that_nobody_wants_wakes_nobody_and_holds_no_cursor_back(bench: Bench) -> None:
    flow, marks = bench.flows["orders"], [(n, Moment(n, n)) for n in range(3)]
    bench.join("orders/1")
    bench.take("orders", "2", mark=marks[0])
    assert not flow.wake.is_set()
    bench.take("orders", "2", "1", mark=marks[1])
    bench.take("orders", "2", mark=marks[2])
    assert flow.wake.is_set()
    assert flow.mark() == marks[1]
    assert bench.metrics.changes["orders"] == 4


def test_the_inspector_is_told_of_what_nobody_wanted(bench: Bench) -> None:
    trace = bench.hub.trace = Trace()
    bench.join("orders/1")
    bench.take("orders", "1", "2")
    steps = {key: [step.kind for step in trace.about("orders", (key,), ())] for key in "12"}
    assert steps == {"1": [Kind.SEEN], "2": [Kind.SEEN, Kind.UNWANTED]}
