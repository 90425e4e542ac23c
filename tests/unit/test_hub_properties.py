"""The hub against a table: whatever happens in between, in the end everybody holds its rows.

The model is one table, the versions of all it ever held, and the parts of the pipeline
around the hub: notifications that are still under way, keys that are dirty, a reload and
snapshot reads that have begun and not ended. Sinks take a message at a time, or none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bridge import mailbox, wire
from bridge.changes import Dirty, Old, Snapshot, State
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.replica import Held
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from bridge.errors import ProtocolError
    from bridge.hub import Request, Topic
    from bridge.mailbox import Mailbox

TEMPLATES = tuple(map(Template.parse, ["orders", "orders/{id}", "customers/{customer}/orders"]))
TABLE = Table(
    name="orders",
    schema="public",
    relation="orders",
    oid=1,
    key=(Column("id", "int4", "int4"),),
    columns=("id", "customer", "revision"),
    templates=TEMPLATES,
    routing=(Column("customer", "text", "text", not_null=False),),
)
IDS = ["1", "2", "3", "4"]
CUSTOMERS = ["a", "b", None]
TOPICS = ["orders", "orders/1", "orders/2", "customers/a/orders", "customers/b/orders"]
SUBSCRIBERS = range(3)


class Row(NamedTuple):
    customer: str | None
    revision: int


Rows = dict[str, Row]


class Database:
    """The table now, at every version it had, and the notifications not delivered yet."""

    def __init__(self) -> None:
        self.history: list[Rows] = [{}]
        self.under_way: list[Dirty] = []

    @property
    def rows(self) -> Rows:
        return self.history[-1]

    @property
    def version(self) -> str:
        return f"{len(self.history) - 1:08d}"

    def write(self, key: str, customer: str | None, *, delete: bool) -> None:
        before, after = self.rows.get(key), dict(self.rows)
        after.pop(key, None)
        if not delete:
            after[key] = Row(customer, len(self.history))
        self.history.append(after)
        if before is not None or not delete:
            self.under_way.append(_notification(key, before, after.get(key)))

    def state(self, key: str) -> State:
        row, name = self.rows.get(key), json.dumps({"id": int(key)})
        if row is None:
            return State((key,), (key,), name, None, self.version)
        return State((key,), (key, row.customer), name, _document(key, row), self.version)

    def snapshot(self, topic: str) -> Snapshot:
        rows = [
            (json.dumps({"id": int(key)}), _document(key, row))
            for key, row in members(self.rows, topic).items()
        ]
        return Snapshot(rows, self.version)


def _notification(key: str, before: Row | None, after: Row | None) -> Dirty:
    left = before is not None and (after is None or after.customer != before.customer)
    old: frozenset[Old] = frozenset([(before.customer,)] if before and left else [])
    return Dirty((key,), before is not None, old)


def _document(key: str, row: Row) -> str:
    return json.dumps({"id": int(key), "customer": row.customer, "revision": row.revision})


def members(rows: Rows, topic: str) -> Rows:
    return {
        key: row
        for key, row in rows.items()
        if topic in [t.topic({"id": key, "customer": row.customer}) for t in TEMPLATES]
    }


def documents(rows: Rows) -> dict[str, Any]:
    return {json.dumps({"id": int(k)}): json.loads(_document(k, row)) for k, row in rows.items()}


class Client:
    """A subscriber by the client's rules; what the server may never do is asserted here."""

    def __init__(self, hub: Hub, database: Database) -> None:
        self.hub = hub
        self.database = database
        self.sink = FakeSink()
        self.mailbox: Mailbox = hub.join(self.sink, wire.welcome("test", "0"))
        self.held: dict[str, Held] = {}
        self.newest: dict[str, str] = {}
        self.stale = False

    def subscribe(self, topic: str) -> None:
        self.hub.subscribe(self.mailbox, wire.Subscribe(topic))

    def take_news(self) -> None:
        for message in self.sink.news():
            getattr(self, f"_{message['type']}")(message)

    def _welcome(self, message: dict[str, Any]) -> None:
        assert not self.held

    def _status(self, message: dict[str, Any]) -> None:
        assert self.stale == (message["state"] == "live")
        self.stale = not self.stale

    def _subscribed(self, message: dict[str, Any]) -> None:
        self.held[message["topic"]] = Held()
        self.newest[message["topic"]] = ""

    def _unsubscribed(self, message: dict[str, Any]) -> None:
        self.held.pop(message["topic"], None)

    def _snapshot(self, message: dict[str, Any]) -> None:
        self._fold(message)
        for entry in message["rows"]:
            self._check(message, entry["key"], entry["row"])

    def _change(self, message: dict[str, Any]) -> None:
        self._fold(message)
        self._check(message, message["key"], message["row"])

    def _fold(self, message: dict[str, Any]) -> None:
        topic, version = message["topic"], message["version"]
        assert version >= self.newest[topic], "went back in time"
        self.newest[topic] = version
        self.held[topic].fold(message)

    def _check(self, message: dict[str, Any], key: dict[str, int], row: Any) -> None:
        """A row, or its absence, is what the topic had at that version."""
        then = documents(members(self.database.history[int(message["version"])], message["topic"]))
        assert then.get(json.dumps(key)) == row


class Against(RuleBasedStateMachine):
    """Any interleaving of writes, notifications, reads, gaps, outages, and readers of any speed."""

    @initialize(capacity=st.integers(1, 4))
    def start(self, capacity: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(mailbox, "CHUNK", 1)
        self.patch.setattr(mailbox, "CAPACITY", capacity)
        self.patch.setattr(wire, "PAGE", 1)
        self.database = Database()
        self.hub = Hub()
        self.hub.watch([TABLE])
        self.dirty: dict[str, Dirty] = {}
        self.load: tuple[list[Dirty], list[State]] | None = None
        self.reads: list[tuple[Request, dict[Topic, Snapshot | ProtocolError]]] = []
        self.clients = {n: Client(self.hub, self.database) for n in SUBSCRIBERS}
        self.hub.resume()

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.settle_down()
            self.patch.undo()

    # The application and the way of its notifications.

    @rule(key=st.sampled_from(IDS), customer=st.sampled_from(CUSTOMERS), delete=st.booleans())
    def write(self, key: str, customer: str | None, delete: bool) -> None:
        self.database.write(key, customer, delete=delete)

    @precondition(lambda self: self.database.under_way)
    @rule(count=st.integers(1, 3))
    def hear(self, count: int) -> None:
        heard = self.database.under_way[:count]
        del self.database.under_way[:count]
        if not self.hub.live or not self.hub.follows("orders"):
            return
        for change in heard:
            self._merge(self.dirty.get(change.key[0]), change)

    def _merge(self, first: Dirty | None, then: Dirty) -> None:
        if first is not None:
            then = Dirty(then.key, first.existed, first.old | then.old)
        self.dirty[then.key[0]] = then

    # Reads: what they see is settled when they begin, and told when they end.

    @precondition(lambda self: self.dirty and self.load is None)
    @rule(count=st.integers(1, 4))
    def begin_load(self, count: int) -> None:
        taken = [self.dirty.pop(key) for key in list(self.dirty)[:count]]
        taken = [dirty for dirty in taken if self.hub.wants("orders", dirty)]
        self.load = taken, [self.database.state(dirty.key[0]) for dirty in taken]

    @precondition(lambda self: self.load)
    @rule(fails=st.booleans())
    def end_load(self, fails: bool) -> None:
        assert self.load is not None
        (taken, states), self.load = self.load, None
        if not fails:
            self.hub.publish(TABLE, taken, states)
            return
        for first in taken:
            then = self.dirty.get(first.key[0], first)
            self._merge(first, then)

    @precondition(lambda self: len(self.reads) < 2)
    @rule(keyed=st.integers(1, 2), other=st.integers(1, 2))
    def begin_read(self, keyed: int, other: int) -> None:
        if (request := self.hub.requests(keyed=keyed, other=other)) is not None:
            answers = {topic: self.database.snapshot(topic.name) for topic in request.topics}
            self.reads.append((request, {**answers}))

    @precondition(lambda self: self.reads)
    @rule(which=st.integers(0, 1), fails=st.booleans())
    def end_read(self, which: int, fails: bool) -> None:
        request, answers = self.reads.pop(min(which, len(self.reads) - 1))
        if fails:
            self.hub.again(request)
        else:
            self.hub.deliver(request, answers)

    # Loss.

    @rule()
    def gap(self) -> None:
        self.database.under_way.clear()
        self.dirty.clear()
        self.hub.gap("orders")

    @rule()
    def lose(self) -> None:
        self.hub.stale()

    @precondition(lambda self: not self.hub.live)
    @rule()
    def resume(self) -> None:
        self.database.under_way.clear()
        self.dirty.clear()
        self.hub.resume()

    # Subscribers.

    @rule(who=st.sampled_from(SUBSCRIBERS), topic=st.sampled_from(TOPICS))
    def subscribe(self, who: int, topic: str) -> None:
        self.clients[who].subscribe(topic)

    @rule(who=st.sampled_from(SUBSCRIBERS), topic=st.sampled_from(TOPICS))
    def unsubscribe(self, who: int, topic: str) -> None:
        client = self.clients[who]
        if topic in client.mailbox.subscriptions:
            self.hub.unsubscribe(client.mailbox, topic)

    @rule(who=st.sampled_from(SUBSCRIBERS))
    def come_anew(self, who: int) -> None:
        self.hub.leave(self.clients[who].mailbox)
        self.clients[who] = Client(self.hub, self.database)

    @rule(who=st.sampled_from(SUBSCRIBERS), writes=st.none() | st.integers(0, 3))
    def read_at_some_speed(self, who: int, writes: int | None) -> None:
        client = self.clients[who]
        client.sink.room = writes
        client.mailbox.flush()

    @invariant()
    def nobody_goes_back_in_time(self) -> None:
        for client in self.clients.values():
            client.take_news()

    @invariant()
    def what_waits_is_bounded(self) -> None:
        for client in self.clients.values():
            for subscription in client.mailbox.subscriptions.values():
                assert len(subscription.changes) <= mailbox.CAPACITY

    def settle_down(self) -> None:
        """Writes stop; the bridge does what is left to do, and everybody reads."""
        if not self.hub.live:
            self.resume()
        for client in self.clients.values():
            client.sink.room = None
            client.mailbox.flush()
        for _ in range(10):
            self._work_off()
        self.nobody_goes_back_in_time()
        assert not self.hub.requests(keyed=9, other=9)
        for client in self.clients.values():
            assert not client.stale
            assert client.held.keys() == client.mailbox.subscriptions.keys()
            for topic, held in client.held.items():
                assert held.rows == documents(members(self.database.rows, topic))

    def _work_off(self) -> None:
        if self.load is not None:
            self.end_load(fails=False)
        while self.reads:
            self.end_read(which=0, fails=False)
        self.begin_read(keyed=9, other=9)
        self.hear(count=1000)
        if self.dirty:
            self.begin_load(count=9)


Against.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestAgainstTheModel = Against.TestCase
