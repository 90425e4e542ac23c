"""Streams by example: what each is sent while others read, publish and change their minds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import cursor, lane, wire
from bridge.changes import Event, State
from bridge.cursor import Place
from bridge.hub import Hub
from bridge.mailbox import Mailbox
from bridge.stream import Stream, message
from bridge.tables import Column, Table
from bridge.topics import Template
from tests.support.sinks import FakeSink

if TYPE_CHECKING:
    import pytest

    from bridge.message import Message

ID = Column("id", "int8", "int8")
ACCOUNT = Column("account", "int8", "int8")
TEMPLATES = tuple(map(Template.parse, ("payments", "payments/{account}")))
PAYMENTS = Table(
    "payments", "public", "payments", 1, (ID,), ("id",), TEMPLATES, (ACCOUNT,), position=ID
)


class Bench:
    """A hub over one log, of which 10 is settled; feed and readers are played by hand."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.hub.routes.watch([PAYMENTS])
        self.streams = self.hub.streams
        self.streams.begin("history", 10)

    def follow(self, topic: str = "payments", at: int | None = None) -> tuple[FakeSink, Stream]:
        """One who is told to begin at that number, or with what is settled now."""
        sink = FakeSink()
        self.hub.subscribe(self.hub.join(sink, wire.pong()), wire.Subscribe(topic))
        stream = self.streams.next()
        assert stream is not None
        place = Place(self.streams.settled or 0 if at is None else at)
        self.streams.opened(stream, stream.turn, place, resumed=at is not None)
        sink.news()
        return sink, stream

    def publish(self, *numbers: int) -> None:
        self.streams.publish([event(seq) for seq in numbers], numbers[-1])

    def page(self, *numbers: int) -> list[Message]:
        return [message("history", "payments", event(seq), Place(seq)) for seq in numbers]


def event(seq: int) -> Event:
    values = (str(seq), str(seq % 2), str(seq))
    return Event(seq, "payments", State(values[:1], values, f'{{"id":{seq}}}', "{}", ""))


def ids(sink: FakeSink) -> list[int]:
    return [told["key"]["id"] for told in sink.news() if told["type"] == "event"]


def test_who_is_live_gets_what_is_published() -> None:
    bench = Bench()
    (all_, _), (odd, _) = bench.follow(), bench.follow("payments/1")
    bench.publish(11, 12, 14)
    assert (ids(all_), ids(odd)) == ([11, 12, 14], [11])


def test_what_cannot_be_read_says_where_one_goes_on() -> None:
    bench = Bench()
    sink, _ = bench.follow()
    bench.streams.publish([Event(11, "payments", None)], 11)
    (told,) = sink.news()
    assert (told["type"], told["code"], told["topic"]) == ("error", "unavailable", "payments")
    assert cursor.place(told["cursor"], "history", "payments") == Place(11)


def test_what_is_published_during_the_last_read_follows_it() -> None:
    bench = Bench()
    sink, stream = bench.follow(at=5)
    assert bench.streams.next() is stream
    target = bench.streams.accompany(stream)
    bench.publish(11, 12)
    bench.streams.bring(stream, stream.turn, bench.page(6, 9), Place(10), target)
    bench.publish(13)
    assert ids(sink) == [6, 9, 11, 12, 13]
    assert bench.streams.next() is None


def test_what_is_published_during_another_read_is_read() -> None:
    bench = Bench()
    sink, stream = bench.follow(at=5)
    bench.streams.next()
    target = bench.streams.accompany(stream)
    bench.publish(11, 12)
    bench.streams.bring(stream, stream.turn, bench.page(6), Place(7), target)
    assert ids(sink) == [6]
    assert bench.streams.next() is stream
    assert (stream.place, bench.streams.accompany(stream)) == (Place(7), 12)


def test_too_much_during_a_read_is_read_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.stream.MESSAGES", 2)
    bench = Bench()
    sink, stream = bench.follow(at=9)
    bench.streams.next()
    target = bench.streams.accompany(stream)
    bench.publish(11, 12, 13)
    bench.streams.bring(stream, stream.turn, bench.page(10), Place(10), target)
    assert ids(sink) == [10]
    assert bench.streams.next() is stream


def test_a_cursor_ahead_of_this_instance_waits_for_it() -> None:
    bench = Bench()
    sink, _ = bench.follow(at=12)
    bench.publish(11, 12, 13)
    assert ids(sink) == [13]


def test_who_does_not_read_falls_behind_and_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "MESSAGES", 2)
    bench = Bench()
    sink, stream = bench.follow()
    sink.room = 0
    bench.publish(11, 12, 13)
    bench.publish(14)
    assert bench.streams.next() is None
    sink.room = None
    stream.mailbox.flush()
    assert ids(sink) == [11, 12, 13]
    assert bench.streams.next() is stream
    assert stream.place == Place(13)


def test_rows_that_could_not_be_read_are_read_later() -> None:
    bench = Bench()
    sink, stream = bench.follow()
    bench.streams.fall_back("payments")
    bench.streams.publish([], 12)
    assert ids(sink) == []
    assert bench.streams.next() is stream
    assert stream.place == Place(10)


def test_a_read_for_one_who_left_or_asked_again_is_forgotten() -> None:
    bench = Bench()
    sink, stream = bench.follow(at=5)
    bench.streams.next()
    turn, target = stream.turn, bench.streams.accompany(stream)
    bench.hub.unsubscribe(stream.mailbox, "payments")
    bench.streams.bring(stream, turn, bench.page(6), Place(10), target)
    bench.publish(11)
    assert [told["type"] for told in sink.news()] == ["unsubscribed"]
    assert not bench.streams


def test_after_a_loss_everybody_is_told_and_begins_with_what_comes() -> None:
    bench = Bench()
    sink, _ = bench.follow()
    bench.streams.lose()
    bench.streams.begin("history", 20)
    bench.publish(21)
    again, told = sink.news()
    assert (again["type"], again["resumed"], told["key"]) == ("subscribed", False, {"id": 21})


def test_one_whose_right_ends_is_told_and_gets_no_more() -> None:
    bench = Bench()
    sink, stream = bench.follow()
    assert bench.hub.followed(stream.mailbox) == ["payments"]
    bench.hub.revoke(stream.mailbox, "payments", wire.ProtocolError("forbidden", "no"))
    bench.publish(11)
    assert [told["type"] for told in sink.news()] == ["error"]


def test_live_waits_for_what_was_written_meanwhile() -> None:
    sink = FakeSink()
    mailbox = Mailbox(sink, lambda _: None)
    mailbox.fall_behind()
    mailbox.lane.behind = True
    mailbox.settle()
    mailbox.lane.behind = False
    mailbox.settle()
    assert [told["state"] for told in sink.messages] == ["stale", "live"]
