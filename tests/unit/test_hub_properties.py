"""The hub against a table: whatever happens in between, in the end everybody holds its rows.

The model is one table, the versions of all it ever held, and the parts of the pipeline
around the hub: notifications that are still under way, keys that are dirty, a reload and
snapshot reads that have begun and not ended. Sinks take a message at a time, or none, and
one mailbox is written at a time, if the turn of the loop that it waits for comes.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from bridge import mailbox, outbox, subscription, wire
from bridge.changes import Change, Dirty, Old, Operation, Snapshot, State
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.replica import Held
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from collections.abc import Callable

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
IDS = ["1", "2", "3"]
CUSTOMERS = ["a", "b", None]
TOPICS = ["orders", "orders/1", "customers/a/orders", "customers/b/orders"]
ANY = dict(zip(TOPICS, TOPICS, strict=True))
NARROW = dict(zip(TOPICS, ["orders/2", "orders/1", "orders/3", "orders/1"], strict=True))
"""Instead of those, where a key that nobody follows is to be nobody's."""
SUBSCRIBERS = range(2)

DELETES = [False, False, True]
writes = st.tuples(st.sampled_from(IDS), st.sampled_from(CUSTOMERS), st.sampled_from(DELETES))


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

    def write(self, key: str, customer: str | None, delete: bool) -> None:
        before, after = self.rows.get(key), dict(self.rows)
        after.pop(key, None)
        if not delete:
            # Of two values only: a row that is again what it was must not be taken for sent.
            after[key] = Row(customer, len(self.history) % 2)
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
        self.newest: dict[str, dict[str, str]] = {}
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
        self.newest[message["topic"]] = {}

    def _unsubscribed(self, message: dict[str, Any]) -> None:
        self.held.pop(message["topic"], None)

    def _snapshot(self, message: dict[str, Any]) -> None:
        """Newer than all that was told before. What is told after it may come by a whole read
        that began before it was overtaken, so from there on each key goes its own way."""
        seen = self.newest[message["topic"]]
        self._fold(message, *seen.values())
        seen.clear()
        seen["*"] = message["version"]
        for entry in message["rows"]:
            self._check(message, entry["key"], entry["row"])

    def _change(self, message: dict[str, Any]) -> None:
        seen, key = self.newest[message["topic"]], json.dumps(message["key"])
        self._fold(message, seen.get("*", ""), seen.get(key, ""))
        seen[key] = message["version"]
        self._check(message, message["key"], message["row"])

    def _fold(self, message: dict[str, Any], *seen: str) -> None:
        assert message["version"] >= max(seen, default=""), "went back in time"
        self.held[message["topic"]].fold(message)

    def _check(self, message: dict[str, Any], key: dict[str, int], row: Any) -> None:
        """A row, or its absence, is what the topic had at that version."""
        then = documents(members(self.database.history[int(message["version"])], message["topic"]))
        assert then.get(json.dumps(key)) == row


class Against(RuleBasedStateMachine):
    """Any interleaving of writes, notifications, reads, gaps, outages, and readers of any speed."""

    @initialize(
        capacity=st.integers(1, 4),
        chunk=st.sampled_from([1, 10_000]),
        topics=st.lists(st.sets(st.sampled_from(TOPICS)), min_size=2, max_size=2),
        names=st.sampled_from([ANY, NARROW]),
    )
    def start(
        self, capacity: int, chunk: int, topics: list[set[str]], names: dict[str, str]
    ) -> None:
        self.names = names
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(mailbox, "CHUNK", chunk)
        self.patch.setattr(subscription, "CAPACITY", capacity)
        self.patch.setattr(wire, "PAGE", 1)
        self.patch.setattr(outbox, "AT_LEAST", 1)
        self.patch.setattr(outbox, "SLICE", 0.0)
        self.database = Database()
        self.hub = Hub()
        self.hub.routes.watch([TABLE])
        self.slices: deque[Callable[[], None]] = deque()
        self.hub.outbox.later = self.slices.append
        self.dirty: dict[str, Dirty] = {}
        self.load: tuple[list[Dirty], list[State]] | None = None
        self.reads: list[tuple[Request, dict[Topic, Snapshot | ProtocolError]]] = []
        self.clients = {n: Client(self.hub, self.database) for n in SUBSCRIBERS}
        for client, wanted in zip(self.clients.values(), topics, strict=True):
            for topic in sorted({names[topic] for topic in wanted}):
                client.subscribe(topic)
        self.settle_down()

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.settle_down()
            self.patch.undo()

    # The application, and the pipeline: notifications are heard after the commit; what a read
    # sees is settled when it begins, and told when it ends, or never.

    @rule(writes=st.lists(writes, min_size=1, max_size=4))
    def write(self, writes: list[tuple[str, str | None, bool]]) -> None:
        for write in writes:
            self.database.write(*write)

    @rule(choices=st.lists(st.integers(0, 59), min_size=1, max_size=4))
    def work(self, choices: list[int]) -> None:
        for choice in choices:
            if steps := self._possible():
                steps[choice % len(steps)]()

    @rule()
    def publish_everything(self) -> None:
        """Reloads overtake snapshot reads that have begun."""
        while self.load or self.dirty or self.database.under_way:
            if self.load:
                self.end_load()
            self.hear()
            if self.dirty:
                self.begin_load()

    @rule()
    def reconcile(self) -> None:
        """A read that nobody waits for may hold news, and must not undo any."""
        self.hub.reconcile()

    @rule()
    def read_everything(self) -> None:
        """Snapshot reads overtake a reload that has begun."""
        while self.reads or self.begin_read in self._possible():
            if self.begin_read in self._possible():
                self.begin_read()
            self.end_read()

    def _possible(self) -> list[Callable[[], None]]:
        topics = self.hub._topics.values()
        wanted = any(topic in topic.route.wanted and not topic.reading for topic in topics)
        steps = {
            self.resume: not self.hub.live,
            self.hear: self.database.under_way,
            self.begin_load: self.dirty and self.load is None,
            self.end_load: self.load,
            self.fail_load: self.load,
            self.begin_read: wanted and self.hub.live and len(self.reads) < 2,
            self.end_read: self.reads,
            self.end_later_read: len(self.reads) == 2,
            self.fail_read: self.reads,
            self.write_slice: self.slices,
        }
        return [step for step, possible in steps.items() if possible]

    def hear(self, count: int = 2) -> None:
        heard = self.database.under_way[:count]
        del self.database.under_way[:count]
        if self.hub.live and self.hub.routes.follows("orders"):
            changes = [Change("orders", dirty.key, Operation.UPDATE) for dirty in heard]
            sought = self.hub.routes.sought("orders", changes)
            for change in heard:
                if sought is None or change.key in sought or change.key[0] in self.dirty:
                    self._merge(self.dirty.get(change.key[0]), change)

    def _merge(self, first: Dirty | None, then: Dirty) -> None:
        if first is not None:
            then = Dirty(then.key, first.existed, first.old | then.old)
        self.dirty[then.key[0]] = then

    def begin_load(self, count: int = 3) -> None:
        taken = [self.dirty.pop(key) for key in list(self.dirty)[:count]]
        taken = list(self.hub.routes.wanted("orders", taken))
        self.load = taken, [self.database.state(dirty.key[0]) for dirty in taken]

    def end_load(self) -> None:
        assert self.load is not None
        (taken, states), self.load = self.load, None
        self.hub.publish(TABLE, taken, states)

    def fail_load(self) -> None:
        assert self.load is not None
        (taken, _), self.load = self.load, None
        for first in taken:
            self._merge(first, self.dirty.get(first.key[0], first))

    def begin_read(self, most: int = 2) -> None:
        request = self.hub.requests(single=most, other=most, now=0.0)
        assert request is not None
        answers = {topic: self.database.snapshot(topic.name) for topic in request.topics}
        self.reads.append((request, {**answers}))

    def end_read(self, which: int = 0) -> None:
        self.hub.deliver(*self.reads.pop(which), 0.0)

    def end_later_read(self) -> None:
        self.end_read(-1)

    def fail_read(self) -> None:
        self.hub.again(self.reads.pop(0)[0])

    def write_slice(self) -> None:
        self.slices.popleft()()

    # Loss.

    @rule(outage=st.booleans())
    def lose(self, outage: bool) -> None:
        if outage:
            self.hub.stale()
        elif self.hub.live:
            self._forget()
            self.hub.gap("orders")

    def resume(self) -> None:
        self._forget()
        self.hub.resume()

    def _forget(self) -> None:
        self.database.under_way.clear()
        self.dirty.clear()

    # Subscribers.

    @rule(who=st.sampled_from(SUBSCRIBERS), topic=st.sampled_from(TOPICS))
    def subscribe(self, who: int, topic: str) -> None:
        self.clients[who].subscribe(self.names[topic])

    @rule(
        who=st.sampled_from(SUBSCRIBERS),
        topic=st.sampled_from(TOPICS),
        writes=st.lists(writes, max_size=2),
        gap=st.booleans(),
    )
    def come_while_a_read_runs(
        self, who: int, topic: str, writes: list[tuple[str, str | None, bool]], gap: bool
    ) -> None:
        """The race that the hub is built around, made likely."""
        if self.begin_read in self._possible():
            self.begin_read()
        self.write(writes)
        if gap:
            self.lose(outage=False)
        else:
            self.publish_everything()
        self.subscribe(who, topic)
        if self.reads:
            self.end_later_read()

    @rule(who=st.sampled_from(SUBSCRIBERS), data=st.data())
    def unsubscribe_or_come_anew(self, who: int, data: st.DataObject) -> None:
        client = self.clients[who]
        followed = sorted(client.mailbox.subscriptions)
        if (topic := data.draw(st.sampled_from([None, *followed]))) is not None:
            self.hub.unsubscribe(client.mailbox, topic)
        else:
            self.hub.leave(client.mailbox)
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
            for one in client.mailbox.subscriptions.values():
                assert len(one.changes) <= subscription.CAPACITY

    @rule()
    def settle_down(self) -> None:
        """Writes pause; the bridge does what is left to do, and everybody reads."""
        for client in self.clients.values():
            client.sink.room = None
            client.mailbox.flush()
        while steps := self._possible():
            lucky = [step for step in steps if step not in (self.fail_load, self.fail_read)]
            lucky[-1]()
        self.nobody_goes_back_in_time()
        for client in self.clients.values():
            assert not client.stale
            assert client.held.keys() == client.mailbox.subscriptions.keys()
            for topic, held in client.held.items():
                assert held.rows == documents(members(self.database.rows, topic))


Against.TestCase.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
TestAgainstTheModel = Against.TestCase
