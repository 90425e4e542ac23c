"""The hub by example: who is told what, and in which order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge import mailbox, outbox, subscription, wire
from bridge.changes import Dirty, Snapshot, State
from bridge.errors import ProtocolError
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.hub import Request
    from bridge.mailbox import Mailbox

ID = (Column("id", "int4", "int4"),)


def table(name: str, *topics: str, routing: str | None = None) -> Table:
    columns = (Column(routing, "text", "text", not_null=False),) if routing else ()
    templates = tuple(map(Template.parse, topics))
    return Table(name, "public", name, 1, ID, ("id",), templates, columns)


ORDERS = table("orders", "orders", "orders/{id}", "by/{customer}", routing="customer")
ITEMS = table("items", "items", "items/{id}")
BOTH = {"orders": ORDERS, "items": ITEMS}


class Bench:
    """A live hub over two tables, and the pipeline's part played by hand.

    Versions are single letters; rows of snapshots are ids.
    """

    def __init__(self) -> None:
        self.hub = Hub(subscriptions=3)
        self.hub.routes.watch(BOTH.values())
        self.hub.resume()

    def join(self, *topics: str, room: int | None = None) -> tuple[Mailbox, FakeSink]:
        sink = FakeSink()
        mailbox = self.hub.join(sink, wire.welcome("test", "0"))
        for topic in topics:
            self.hub.subscribe(mailbox, wire.Subscribe(topic))
        sink.news()
        sink.room = room
        return mailbox, sink

    def request(self) -> Request:
        request = self.hub.requests(single=9, other=9, now=0.0)
        assert request is not None
        return request

    def deliver(self, request: Request, version: str, *ids: int) -> None:
        rows = [(f'{{"id":{id_}}}', row(id_, version)) for id_ in ids]
        answers = {topic: Snapshot(rows, version) for topic in request.topics}
        self.hub.deliver(request, answers, 0.0)

    def serve(self, version: str, *ids: int) -> None:
        """Every snapshot that is wanted."""
        while (request := self.hub.requests(single=9, other=9, now=0.0)) is not None:
            self.deliver(request, version, *ids)

    def publish(self, version: str, *ids: int, table: str = "orders", gone: bool = False) -> int:
        """Updates of these rows, or their deletes."""
        dirty = [Dirty((str(id_),), True, old(gone, table)) for id_ in ids]
        return self.hub.publish(BOTH[table], dirty, [state(i, version, table, gone) for i in ids])


def old(gone: bool, table: str) -> frozenset[tuple[str | None, ...]]:
    return frozenset([("a",)] if gone and table == "orders" else [])


def state(id_: int, version: str, table: str, gone: bool) -> State:
    key, name = (str(id_),), f'{{"id":{id_}}}'
    if gone:
        return State(key, key, name, None, version)
    values = (*key, "a") if table == "orders" else key
    return State(key, values, name, row(id_, version), version)


def row(id_: int, version: str) -> str:
    """Every version of a row differs from every other: the hub does not repeat itself."""
    return f'{{"id":{id_},"at":"{version}"}}'


@pytest.fixture
def bench() -> Bench:
    return Bench()


def brief(messages: list[dict[str, Any]]) -> list[str]:
    """Messages in a word or two: type or op, then ids, then version."""
    return [_brief(message) for message in messages]


def _brief(message: dict[str, Any]) -> str:
    match message["type"]:
        case "snapshot":
            ids = "".join(str(entry["key"]["id"]) for entry in message["rows"])
            return f"snapshot {ids}@{message['version']}"
        case "change":
            return f"{message['op']} {message['key']['id']}@{message['version']}"
        case "status":
            return str(message["state"])
        case "error":
            return f"error {message['code']}"
        case other:
            return str(other)


# Subscribing.


def test_a_subscription_is_confirmed_with_its_snapshot_and_not_before(bench: Bench) -> None:
    mailbox, sink = bench.join()
    bench.hub.subscribe(mailbox, wire.Subscribe("orders", id={"n": 1}))
    assert sink.news() == []
    bench.serve("b", 1, 2)
    assert [len(write) for write in sink.writes] == [1, 2], "welcome, then both in one write"
    subscribed, snapshot = sink.news()
    assert subscribed == {
        "type": "subscribed",
        "topic": "orders",
        "id": {"n": 1},
        "resumed": False,
    }
    assert _brief(snapshot) == "snapshot 12@b"


def test_changes_during_the_read_come_after_it(bench: Bench) -> None:
    _, sink = bench.join("orders")
    request = bench.request()
    bench.publish("c", 1)
    bench.publish("d", 2)
    bench.deliver(request, "b", 1, 2)
    assert brief(sink.news()) == ["subscribed", "snapshot 12@b", "update 1@c", "update 2@d"]


def test_changes_the_snapshot_shows_already_are_not_sent(bench: Bench) -> None:
    _, sink = bench.join("orders")
    request = bench.request()
    bench.publish("a", 1)
    bench.publish("b", 2)
    bench.deliver(request, "b", 1, 2)
    assert bench.publish("a", 1) == 0, "loaded before the snapshot, published after it"
    assert bench.publish("b", 2) == 0, "the snapshot showed it"
    assert brief(sink.news()) == ["subscribed", "snapshot 12@b"]


def test_one_who_comes_while_a_read_runs_waits_for_the_next(bench: Bench) -> None:
    _, early = bench.join("orders")
    request = bench.request()
    _, late = bench.join("orders")
    bench.deliver(request, "a", 1)
    assert (brief(early.news()), late.news()) == (["subscribed", "snapshot 1@a"], [])
    bench.serve("b", 2)
    assert brief(late.news()) == ["subscribed", "snapshot 2@b"]
    assert sorted(brief(early.news())) == ["delete 1@b", "insert 2@b"], "news to them"


def test_subscribing_again_starts_anew(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    request = bench.request()
    bench.hub.subscribe(mailbox, wire.Subscribe("orders", id=2))
    bench.deliver(request, "a")
    assert sink.news() == [], "that read is not for the second subscription"
    bench.serve("b", 1)
    assert [message.get("id") for message in sink.news()] == [2, None]
    assert len(mailbox.subscriptions) == 1


def test_without_a_snapshot_only_changes_come(bench: Bench) -> None:
    mailbox, sink = bench.join()
    bench.hub.subscribe(mailbox, wire.Subscribe("orders", snapshot=False))
    bench.serve("b", 1)
    bench.publish("c", 1)
    assert brief(sink.news()) == ["subscribed", "update 1@c"]
    bench.hub.gap("orders")
    bench.serve("d", 1)
    assert brief(sink.news()) == ["snapshot 1@d"], "it cannot know what it missed"


def test_topics_are_limited(bench: Bench) -> None:
    mailbox, _ = bench.join("orders", "orders/1", "orders/2")
    with pytest.raises(ProtocolError, match="at most 3") as caught:
        bench.hub.subscribe(mailbox, wire.Subscribe("orders/3"))
    assert caught.value.code == "too_many_subscriptions"
    bench.hub.subscribe(mailbox, wire.Subscribe("orders/2"))
    bench.hub.unsubscribe(mailbox, "orders/2")
    bench.hub.subscribe(mailbox, wire.Subscribe("orders/3"))


@pytest.mark.parametrize("topic", ["nope", "orders/1/2", "orders/%2f", "orders/\ud800", "/orders"])
def test_an_unknown_topic_is_refused_with_what_there_is(bench: Bench, topic: str) -> None:
    mailbox, _ = bench.join()
    with pytest.raises(ProtocolError, match=r"orders/\{id\}") as caught:
        bench.hub.subscribe(mailbox, wire.Subscribe(topic))
    assert caught.value.code == "unknown_topic"
    assert bench.hub.topics == 0


def test_a_literal_is_asked_before_a_column() -> None:
    hub = Hub()
    hub.routes.watch([table("a", "{id}/new"), table("b", "orders/{id}"), table("c", "orders/new")])
    hub.resume()
    mailbox = hub.join(FakeSink(), wire.welcome("test", "0"))
    for topic, owner in [("orders/new", "c"), ("orders/1", "b"), ("1/new", "a")]:
        hub.subscribe(mailbox, wire.Subscribe(topic))
        request = hub.requests(single=1, other=1, now=0.0)
        assert request is not None
        assert request.route.table.name == owner


# Leaving.


def test_what_is_unsent_goes_with_the_subscription(bench: Bench) -> None:
    mailbox, sink = bench.join("orders", room=0)
    bench.serve("a", 1)
    bench.publish("b", 1)
    bench.hub.unsubscribe(mailbox, "orders")
    sink.room = None
    mailbox.flush()
    assert brief(sink.news()) == ["unsubscribed"]
    assert bench.publish("c", 1) == 0
    assert bench.hub.topics == 0
    with pytest.raises(ProtocolError):
        bench.hub.unsubscribe(mailbox, "orders")


@pytest.mark.parametrize("how", ["leave", "unsubscribe"])
def test_leaving_while_a_read_runs(bench: Bench, how: str) -> None:
    gone, sink = bench.join("orders")
    other_mailbox, other = bench.join("orders")
    request = bench.request()
    if how == "leave":
        bench.hub.leave(gone)
    else:
        bench.hub.unsubscribe(gone, "orders")
    bench.deliver(request, "a", 1)
    assert "snapshot" not in [message["type"] for message in sink.news()]
    assert brief(other.news()) == ["subscribed", "snapshot 1@a"]
    bench.hub.leave(other_mailbox)
    assert bench.hub.topics == 0


def test_leaving_and_coming_back_while_a_read_runs(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    request = bench.request()
    bench.hub.unsubscribe(mailbox, "orders")
    bench.hub.subscribe(mailbox, wire.Subscribe("orders"))
    bench.hub.again(request)
    bench.deliver(request, "a", 1)
    assert brief(sink.news()) == ["unsubscribed"]
    bench.serve("b", 1)
    assert brief(sink.news()) == ["subscribed", "snapshot 1@b"]


# Publishing.


def test_only_those_concerned_are_told(bench: Bench) -> None:
    sinks = {topic: bench.join(topic)[1] for topic in ["orders", "orders/1", "by/a", "items"]}
    bench.serve("a", 1, 2)
    assert bench.publish("b", 1, 2) == 5
    told = {topic: brief(sink.news())[2:] for topic, sink in sinks.items()}
    both = ["update 1@b", "update 2@b"]
    assert told == {"orders": both, "orders/1": both[:1], "by/a": both, "items": []}


def test_a_row_that_moves_leaves_one_topic_and_enters_another(bench: Bench) -> None:
    _, left = bench.join("by/a")
    _, entered = bench.join("by/b", "orders")
    while request := bench.hub.requests(single=9, other=9, now=0.0):
        held = [('{"id":1}', row(1, "a"))]
        answers = {t: Snapshot([] if t.name == "by/b" else held, "a") for t in request.topics}
        bench.hub.deliver(request, answers, 0.0)
    moved = State(("1",), ("1", "b"), '{"id":1}', '{"id":1}', "b")
    bench.hub.publish(ORDERS, [Dirty(("1",), True, frozenset([("a",)]))], [moved])
    assert brief(left.news())[2:] == ["delete 1@b"]
    assert sorted(brief(entered.news())[4:]) == ["insert 1@b", "update 1@b"]


def test_all_of_one_batch_goes_out_in_one_write(bench: Bench) -> None:
    _, sink = bench.join("orders", "orders/1")
    bench.serve("a")
    before = len(sink.writes)
    bench.publish("b", 1, 2, 3)
    assert [len(write) for write in sink.writes[before:]] == [4]


def test_what_gives_way_to_something_newer_is_counted(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a")
    sink.room = 0
    for version in "bcd":
        bench.publish(version, 1)
    bench.publish("e", 2)
    assert mailbox.conflated == 2
    bench.hub.leave(mailbox)
    bench.hub.leave(mailbox)
    assert bench.hub.conflated == 2


def test_where_a_key_only_changed_its_spelling_the_row_survives(bench: Bench) -> None:
    _, sink = bench.join("items")
    bench.serve("a", 1)
    states = [state(1, "b", "items", False), state(1, "b", "items", True)]
    states[1] = states[1]._replace(key=("1.0",), values=("1.0",))
    bench.hub.publish(ITEMS, [Dirty(("1",), False), Dirty(("1.0",), True)], states)
    assert brief(sink.news())[2:] == ["update 1@b"], "the delete first, and then conflated"


def test_one_whose_unsent_news_are_too_many_when_a_gap_comes_is_read_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It overflows while it is being asked for, and the read that it waits for is of no use."""
    monkeypatch.setattr(subscription, "CAPACITY", 1)
    monkeypatch.setattr(outbox, "AT_LEAST", 1)
    monkeypatch.setattr(outbox, "SLICE", 0.0)
    turns: list[Callable[[], None]] = []
    bench.hub.outbox.later = turns.append
    sinks = [bench.join("orders")[1] for _ in range(2)]
    bench.serve("a")
    bench.publish("b", 1, 2)
    bench.hub.gap("orders")
    request = bench.request()
    bench.hub.gap("orders")
    bench.deliver(request, "c", 1, 2)
    for version in "de":
        bench.serve(version, 1, 2)
        while turns:
            turns.pop(0)()
    for sink in sinks:
        assert any(said.startswith("snapshot 12@") for said in brief(sink.news()))


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [("orders", True), ("orders/1", True), ("orders/2", False), ("by/a", True), ("items/1", False)],
)
def test_a_key_is_read_only_if_somebody_may_care(bench: Bench, topic: str, wanted: bool) -> None:
    keys = [Dirty(("1",), True), Dirty(("9",), True)]
    assert not bench.hub.routes.wanted("orders", keys[:1])
    bench.join(topic)
    assert (keys[0] in bench.hub.routes.wanted("orders", keys)) is wanted
    assert not bench.hub.routes.wanted("orders", keys, "another viewer")
    assert bench.hub.routes.follows("orders") is (topic != "items/1")


# Reading.


def test_a_read_that_failed_is_asked_for_again(bench: Bench) -> None:
    _, sink = bench.join("orders")
    bench.hub.again(bench.request())
    bench.publish("a", 1)
    bench.serve("b", 1)
    assert brief(sink.news()) == ["subscribed", "snapshot 1@b"]


def test_a_table_that_cannot_be_read_does_not_starve_the_others(bench: Bench) -> None:
    bench.join("orders", "items")
    first = bench.request()
    bench.hub.again(first)
    second = bench.request()
    assert {first.route.table.name, second.route.table.name} == {"orders", "items"}


def test_a_request_has_a_limit_by_the_kind_of_topic(bench: Bench) -> None:
    bench.join("orders/1", "orders/2", "orders/3")
    bench.join("by/a", "by/b")
    sizes = {}
    while (request := bench.hub.requests(single=2, other=1, now=0.0)) is not None:
        sizes.setdefault(request.route.template.text, []).append(len(request.topics))
    assert sizes == {"orders/{id}": [2, 1], "by/{customer}": [1, 1]}


def test_a_topic_that_cannot_be_read_is_an_error_to_its_subscribers(bench: Bench) -> None:
    mailbox, sink = bench.join("items")
    bench.hub.subscribe(mailbox, wire.Subscribe("orders/1", id=7))
    bench.hub.subscribe(mailbox, wire.Subscribe("orders/2"))
    error = ProtocolError("unknown_topic", "it is written orders/1")
    while (request := bench.hub.requests(single=9, other=9, now=0.0)) is not None:
        good = Snapshot([], "a")
        answers = {t: error if t.name == "orders/1" else good for t in request.topics}
        bench.hub.deliver(request, answers, 0.0)
    refused = [message for message in sink.news() if message["type"] == "error"]
    assert refused == [
        {
            "type": "error",
            "code": "unknown_topic",
            "message": "it is written orders/1",
            "topic": "orders/1",
            "id": 7,
        }
    ]
    assert mailbox.subscriptions.keys() == {"items", "orders/2"}


def test_a_key_that_cannot_be_read_is_an_error_to_who_follows_it(bench: Bench) -> None:
    _, one = bench.join("orders/1")
    _, all_ = bench.join("orders")
    bench.serve("a")
    bench.hub.poison(ORDERS, [("1",)])
    assert brief(one.news())[2:] == ["error unavailable"]
    assert brief(all_.news())[2:] == []


# Gaps and losses.


def test_after_a_gap_comes_a_snapshot_but_no_second_confirmation(bench: Bench) -> None:
    _, sink = bench.join("orders")
    _, other = bench.join("items")
    bench.serve("a", 1)
    sink.news(), other.news()
    bench.hub.gap("orders")
    bench.serve("b", 2)
    assert brief(sink.news()) == ["snapshot 2@b"]
    assert other.news() == []


def test_a_gap_while_a_read_runs_makes_that_read_worthless(bench: Bench) -> None:
    _, sink = bench.join("orders")
    request = bench.request()
    bench.hub.gap("orders")
    bench.deliver(request, "a", 1)
    assert sink.news() == []
    bench.serve("b", 2)
    assert brief(sink.news()) == ["subscribed", "snapshot 2@b"]


def test_a_change_does_not_overtake_the_snapshot_that_a_gap_owes(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a", 1)
    sink.room = 0
    bench.publish("b", 1)
    bench.hub.gap("orders")
    request = bench.request()
    bench.publish("d", 1)
    sink.room = None
    mailbox.flush()
    bench.deliver(request, "c", 1)
    assert brief(sink.news())[2:] == ["snapshot 1@c", "update 1@d"]


def test_a_slow_reader_gets_to_the_end_of_a_snapshot_however_many_gaps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PAGE", 1)
    monkeypatch.setattr(mailbox, "CHUNK", 1)
    reader, sink = bench.join("orders", room=1)
    bench.serve("a", 1, 2, 3)
    for _ in range(2):
        bench.hub.gap("orders")
        assert bench.hub.requests(single=1, other=1, now=0.0) is None
        sink.room = 1
        reader.flush()
    bench.serve("b", 4)
    sink.room = None
    reader.flush()
    pages = [f"snapshot {rows}" for rows in ["1@a", "2@a", "3@a", "4@b"]]
    assert brief(sink.news()) == ["subscribed", *pages]


def test_stale_then_snapshots_then_live(bench: Bench) -> None:
    _, sink = bench.join("orders", "items")
    bench.serve("a", 1)
    sink.news()
    bench.hub.stale()
    bench.hub.stale()
    bench.join("orders")
    assert bench.hub.requests(single=1, other=1, now=0.0) is None, (
        "nothing is read of a lost database"
    )
    bench.hub.resume()
    bench.deliver(bench.request(), "b", 1)
    assert brief(sink.news()) == ["stale", "snapshot 1@b"]
    bench.deliver(bench.request(), "b", 2)
    assert brief(sink.news()) == ["snapshot 2@b", "live"]


def test_one_who_comes_during_an_outage_is_told(bench: Bench) -> None:
    bench.hub.stale()
    _, idle = bench.join()
    assert brief(idle.messages) == ["welcome", "stale"]
    bench.hub.resume()
    assert brief(idle.news()) == ["live"]


def test_live_follows_the_rows_of_a_slow_reader(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a", 1)
    sink.room = 0
    bench.hub.stale()
    bench.hub.resume()
    bench.serve("b", 1)
    sink.room = None
    mailbox.flush()
    assert brief(sink.news())[2:] == ["snapshot 1@b", "stale", "live"]


@pytest.mark.parametrize("how", ["unsubscribe", "refused"])
def test_live_is_said_when_the_last_topic_owed_is_given_up(bench: Bench, how: str) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a")
    bench.hub.stale()
    bench.hub.resume()
    sink.news()
    if how == "unsubscribe":
        bench.hub.unsubscribe(mailbox, "orders")
    else:
        request = bench.request()
        refusal = ProtocolError("snapshot_too_large", "too many")
        bench.hub.deliver(request, dict.fromkeys(request.topics, refusal), 0.0)
    assert brief(sink.news())[1:] == ["live"]


def test_a_read_that_began_before_a_loss_is_not_delivered_after_it(bench: Bench) -> None:
    _, sink = bench.join("orders")
    request = bench.request()
    bench.hub.stale()
    bench.hub.resume()
    bench.deliver(request, "a", 1)
    assert brief(sink.news()) == ["stale"]
    bench.serve("b", 1)
    assert brief(sink.news()) == ["subscribed", "snapshot 1@b", "live"]


# Slow readers.


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "CAPACITY", 3)


@pytest.mark.usefixtures("small")
def test_one_who_stopped_reading_costs_no_reads_until_it_reads_again(bench: Bench) -> None:
    slow, sink = bench.join("orders")
    _, healthy = bench.join("orders")
    bench.serve("a", 1)
    sink.news(), healthy.news()
    sink.room = 0
    for version in "bcde":
        for first in (0, 3, 6):
            bench.publish(version, first, first + 1, first + 2)
        assert bench.hub.requests(single=1, other=1, now=0.0) is None
        assert len(slow.subscriptions["orders"].changes) <= 3
    bench.hub.gap("items")
    assert len(brief(healthy.news())) == 36
    sink.room = None
    slow.flush()
    assert sink.news() == [], "old changes are of no use before a snapshot"
    bench.serve("f", 1)
    bench.publish("g", 1)
    assert brief(sink.news()) == ["snapshot 1@f", "update 1@g"]
    *told, last = brief(healthy.news())
    gone = [f"delete {id_}@f" for id_ in (0, 2, 3, 4, 5, 6, 7, 8)]
    assert sorted(told) == sorted([*gone, "update 1@f"]), "what goes out at once is held by nobody"
    assert last == "update 1@g"


@pytest.mark.usefixtures("small")
def test_too_many_changes_during_a_read_ask_for_another(bench: Bench) -> None:
    _, sink = bench.join("orders")
    request = bench.request()
    bench.publish("b", 1, 2, 3, 4)
    bench.deliver(request, "a", 1)
    assert sink.news() == []
    bench.serve("c", 1)
    assert brief(sink.news()) == ["subscribed", "snapshot 1@c"]


def test_only_the_newest_of_a_key_is_sent_to_a_slow_reader(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a", 1, 2)
    sink.news()
    sink.room = 0
    bench.publish("b", 1, 2)
    bench.publish("c", 1, gone=True)
    bench.publish("d", 2)
    bench.publish("e", 1)
    sink.room = None
    mailbox.flush()
    assert brief(sink.news()) == ["update 2@d", "update 1@e"]


def test_what_is_asked_for_is_announced() -> None:
    hub, asked = Hub(), []
    hub.routes.watch([ORDERS])
    hub.on_request = lambda: asked.append(True)
    mailbox = hub.join(FakeSink(), wire.welcome("test", "0"))
    hub.subscribe(mailbox, wire.Subscribe("orders"))
    hub.resume()
    before = len(asked)
    request = hub.requests(single=1, other=1, now=0.0)
    assert request is not None
    hub.again(request)
    assert len(asked) > before > 0
    assert json.dumps(hub.routes.templates()) == json.dumps(
        [("orders", "orders"), ("orders", "orders/{id}"), ("orders", "by/{customer}")]
    )


def test_leaving_a_topic_is_answered_before_it_is_followed_again(bench: Bench) -> None:
    mailbox, sink = bench.join("orders")
    bench.serve("a", 1)
    sink.news()
    sink.room = 0
    for _ in range(2):
        bench.hub.unsubscribe(mailbox, "orders")
        bench.hub.subscribe(mailbox, wire.Subscribe("orders"))
    bench.serve("b", 1)
    sink.room = None
    mailbox.flush()
    told = brief(sink.news())
    assert told.count("unsubscribed") == 2
    assert told[-2:] == ["subscribed", "snapshot 1@b"]
