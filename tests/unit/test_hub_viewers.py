"""The hub where policies decide: to each viewer a topic is another one, and tells no more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bridge import viewer, wire
from bridge.changes import Dirty, Event, Snapshot, State
from bridge.cursor import Place
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    from bridge.turns import Request

ID = (Column("id", "int4", "int4"),)
BY = (Column("owner", "text", "text", not_null=False),)
TOPICS = ("docs", "docs/{id}", "of/{owner}")
DOCS = Table("docs", "public", "docs", 1, ID, ("id",), tuple(map(Template.parse, TOPICS)), BY)


class Bench:
    """A live hub, and the pipeline's part played by hand. Versions are single letters."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.hub.routes.watch([DOCS])
        self.hub.resume()

    def join(self, name: str, *topics: str) -> FakeSink:
        sink = FakeSink()
        mailbox = self.hub.join(sink, wire.welcome("test", "0"), lambda _topic: name)
        for topic in topics:
            self.hub.subscribe(mailbox, wire.Subscribe(topic))
        sink.news()
        return sink

    def request(self) -> Request:
        request = self.hub.requests(single=9, other=9, now=0.0)
        assert request is not None
        return request

    def deliver(self, request: Request, version: str, *ids: int) -> None:
        rows = [(key(id_), f'{{"at":"{version}"}}') for id_ in ids]
        self.hub.deliver(request, {t: Snapshot(rows, version) for t in request.topics}, 0.0)

    def serve(self, version: str, *ids: int) -> None:
        while (request := self.hub.requests(single=9, other=9, now=0.0)) is not None:
            self.deliver(request, version, *ids)

    def publish(self, who: str, version: str, id_: int, *, visible: bool) -> None:
        """A change that says nothing of where the row was, as one viewer sees the row now."""
        text = (str(id_),)
        values = (*text, "a") if visible else text
        row = f'{{"at":"{version}"}}' if visible else None
        states = [State(text, values, key(id_), row, version)]
        self.hub.publish(DOCS, [Dirty(text, True)], states, None, who)


def key(id_: int) -> str:
    return f'{{"id":{id_}}}'


def ops(sink: FakeSink) -> list[str]:
    """`topic op id`, and how many rows a snapshot has."""
    return [_brief(message) for message in sink.news() if message["type"] in ("change", "snapshot")]


def _brief(message: dict[str, Any]) -> str:
    if message["type"] == "snapshot":
        return f"{message['topic']} {len(message['rows'])}"
    return f"{message['topic']} {message['op']} {message['key']['id']}"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_request_is_of_one_viewer(bench: Bench) -> None:
    bench.join("a", "docs/1", "docs/2")
    bench.join("b", "docs/1")
    requests = [bench.request(), bench.request()]
    asked = [(r.viewer, [topic.name for topic in r.topics]) for r in requests]
    assert asked == [("a", ["docs/1", "docs/2"]), ("b", ["docs/1"])]


def test_a_state_is_told_to_its_viewer_alone(bench: Bench) -> None:
    a, b = bench.join("a", "docs"), bench.join("b", "docs")
    bench.serve("b", 1)
    bench.publish("a", "c", 1, visible=True)
    assert (ops(a), ops(b)) == (["docs 1", "docs update 1"], ["docs 1"])


def test_a_row_that_vanished_leaves_every_topic_that_it_was_told_in(bench: Bench) -> None:
    a = bench.join("a", "docs", "docs/1", "of/a")
    bench.serve("b", 1)
    bench.publish("a", "b", 2, visible=False)
    a.news()
    bench.publish("a", "c", 1, visible=False)
    assert sorted(ops(a)) == ["docs delete 1", "docs/1 delete 1", "of/a delete 1"]
    bench.publish("a", "d", 1, visible=False)
    assert ops(a) == []


def test_a_row_that_was_never_told_is_not_deleted(bench: Bench) -> None:
    a = bench.join("a", "docs", "docs/7", "of/a")
    bench.serve("b")
    bench.publish("a", "c", 7, visible=False)
    assert ops(a) == ["docs 0", "docs/7 0", "of/a 0"]


@pytest.mark.parametrize("shown", [True, False])
def test_a_row_that_vanishes_while_the_snapshot_is_read(bench: Bench, shown: bool) -> None:
    """Only the snapshot says whether the delete would be of a row that nobody was told of."""
    a = bench.join("a", "of/a")
    request = bench.request()
    bench.publish("a", "c", 7, visible=False)
    bench.deliver(request, "b", *([7] if shown else []))
    assert ops(a) == (["of/a 1", "of/a delete 7"] if shown else ["of/a 0"])


def test_a_row_that_vanishes_before_the_second_snapshot(bench: Bench) -> None:
    """Who comes later is told by its own snapshot; who was there, by the delete."""
    a = bench.join("a", "of/a")
    bench.serve("b", 7)
    late = bench.join("a", "of/a")
    bench.publish("a", "c", 7, visible=False)
    bench.serve("d")
    assert ops(a) == ["of/a 1", "of/a delete 7"]
    assert ops(late) == ["of/a 0"]


def test_another_viewer_begins_anew(bench: Bench) -> None:
    names = ["a"]
    sink = FakeSink()
    mailbox = bench.hub.join(sink, wire.welcome("test", "0"), lambda _topic: names[0])
    bench.hub.subscribe(mailbox, wire.Subscribe("docs"))
    bench.serve("b", 1, 2)
    bench.hub.look(mailbox)
    assert bench.hub.requests(single=9, other=9, now=0.0) is None, "it is whom it was"
    names[0] = "b"
    bench.hub.look(mailbox)
    bench.publish("a", "c", 1, visible=True)
    bench.serve("d", 3)
    assert ops(sink) == ["docs 2", "docs 1"]
    assert bench.hub.topics == 1


def test_what_cannot_be_read_is_said_to_who_sees_it(bench: Bench) -> None:
    a, b = bench.join("a", "docs/1"), bench.join("b", "docs/1")
    bench.serve("b", 1)
    ops(a), ops(b)
    bench.hub.poison(DOCS, [("1",)], "a")
    assert [message["type"] for message in a.news()] == ["error"]
    assert b.news() == []


def test_when_another_config_moves_it_the_viewer_stays(bench: Bench) -> None:
    bench.join("a", "docs")
    bench.hub.renew([replace(DOCS, columns=("id", "body"))])
    bench.hub.resume()
    assert bench.request().viewer == "a"


def test_what_every_token_has_of_its_own_makes_no_viewer() -> None:
    one = viewer.of({"sub": "u", "exp": 1, "iat": 2, "nbf": 3, "jti": "4", "b": [1, {"c": "é"}]})
    assert one == viewer.of({"b": [1, {"c": "é"}], "sub": "u", "exp": 9})
    assert one == '{"b":[1,{"c":"\\u00e9"}],"sub":"u"}'
    assert viewer.of({"sub": 1}) != viewer.of({"sub": "1"})


def test_a_viewer_is_named_without_what_it_claims() -> None:
    assert viewer.label(None) == ""
    label = viewer.label('{"sub":"somebody"}')
    assert "somebody" not in label
    assert label != viewer.label('{"sub":"other"}')


def test_each_viewer_hears_of_a_log_what_was_read_for_it(bench: Bench) -> None:
    bench.hub.routes.watch([replace(DOCS, position=ID[0])])
    streams = bench.hub.streams
    streams.begin("history", 10)
    sinks = {name: bench.join(name, "docs", "of/a") for name in "abc"}
    while (stream := streams.next()) is not None:
        streams.opened(stream, stream.turn, Place(10), resumed=False)
    assert streams.audience.viewers("docs") == ["a", "b", "c"]
    for sink in sinks.values():
        sink.news()
    state = State(("1",), ("1", "a", "1"), key(1), "{}", "v")
    streams.fall_back("docs", {"a", "b"})  # c came while it was read
    streams.publish([Event(11, "docs", state, "a"), Event(11, "docs", None, "b")], 11)
    assert [message["type"] for message in sinks["a"].news()] == ["event", "event"]
    assert [message["type"] for message in sinks["b"].news()] == ["error", "error"]
    assert sinks["c"].news() == []
    behind = streams.next()
    assert behind is not None
    assert (behind.viewer, behind.place) == ("c", Place(10))
