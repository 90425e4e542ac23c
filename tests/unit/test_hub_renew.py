"""Other tables are served: who follows what, afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bridge import wire
from bridge.changes import Snapshot
from bridge.errors import ProtocolError
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from bridge.mailbox import Mailbox

ID = (Column("id", "int4", "int4"),)


def table(name: str, *topics: str) -> Table:
    return Table(name, "public", name, 1, ID, ("id",), tuple(map(Template.parse, topics)))


ORDERS, ITEMS = table("orders", "orders", "orders/{id}"), table("items", "items")


def hub(*tables: Table) -> Hub:
    hub = Hub()
    hub.renew(tables)
    hub.resume()
    return hub


def join(hub: Hub, *topics: str) -> tuple[Mailbox, FakeSink]:
    sink = FakeSink()
    mailbox = hub.join(sink, wire.welcome("test", "0"))
    for topic in topics:
        hub.subscribe(mailbox, wire.Subscribe(topic, id=topic))
    sink.news()
    return mailbox, sink


def serve(hub: Hub, version: str) -> None:
    while (request := hub.requests(single=9, other=9, now=0.0)) is not None:
        hub.deliver(request, {topic: Snapshot([], version) for topic in request.topics}, 0.0)


def said(sink: FakeSink) -> list[tuple[str, str | None]]:
    return [(message["type"], message.get("topic")) for message in sink.news()]


def test_who_follows_what_is_as_it_was_gets_a_snapshot_and_nothing_else() -> None:
    served = hub(ORDERS, ITEMS)
    _, sink = join(served, "orders")
    serve(served, "b")
    sink.news()
    served.renew([ORDERS])
    served.resume()
    serve(served, "c")
    assert said(sink) == [("snapshot", "orders")]


def test_nothing_is_read_before_listen_is_proven() -> None:
    served = hub(ORDERS)
    join(served, "orders")
    served.renew([replace(ORDERS, debounce=1.0)])
    assert served.requests(single=9, other=9, now=0.0) is None


def test_a_read_that_will_not_come_back_is_asked_for_again() -> None:
    served = hub(ORDERS)
    _, sink = join(served, "orders")
    assert served.requests(single=9, other=9, now=0.0) is not None
    served.renew([ORDERS])
    served.resume()
    serve(served, "c")
    assert said(sink) == [("subscribed", "orders"), ("snapshot", "orders")]


def test_everybody_begins_anew_with_a_table_that_changed() -> None:
    served = hub(ORDERS, ITEMS)
    sinks = [join(served, "orders", "items")[1] for _ in range(2)]
    serve(served, "b")
    [sink.news() for sink in sinks]
    served.renew([replace(ORDERS, columns=()), ITEMS])
    served.resume()
    serve(served, "c")
    for sink in sinks:
        assert sorted(said(sink)) == [
            ("snapshot", "items"),
            ("snapshot", "orders"),
            ("subscribed", "orders"),
        ]
    assert served.topics == 2


def test_what_is_gone_is_told_and_followed_no_more() -> None:
    served = hub(ORDERS, ITEMS)
    mailbox, sink = join(served, "items", "orders/1")
    serve(served, "b")
    sink.news()
    served.renew([ORDERS])
    error, unsubscribed = sink.news()
    assert (error["code"], error["topic"], error["id"]) == ("unknown_topic", "items", "items")
    assert unsubscribed == {"type": "unsubscribed", "topic": "items"}
    assert set(mailbox.subscriptions) == {"orders/1"}


def test_a_topic_that_another_template_takes_over_begins_anew() -> None:
    served = hub(table("orders", "orders/{id}"))
    _, sink = join(served, "orders/new")
    serve(served, "b")
    sink.news()
    served.renew([table("orders", "orders/{id}"), table("items", "orders/new")])
    served.resume()
    serve(served, "c")
    assert said(sink) == [("subscribed", "orders/new"), ("snapshot", "orders/new")]
    assert list(served.routes.followed("orders")) == []


def test_what_is_moved_is_asked_about_anew() -> None:
    served, sink, mine = hub(ORDERS), FakeSink(), {"orders"}

    def permit(topic: str) -> None:
        if topic not in mine:
            raise ProtocolError("forbidden", "not yours")

    mailbox = served.join(sink, wire.welcome("test", "0"), permit)
    served.subscribe(mailbox, wire.Subscribe("orders"))
    serve(served, "b")
    sink.news()
    mine.clear()
    served.renew([replace(ORDERS, columns=())])
    served.resume()
    serve(served, "c")
    assert said(sink) == [("error", "orders"), ("unsubscribed", "orders")]
    assert not mailbox.subscriptions
