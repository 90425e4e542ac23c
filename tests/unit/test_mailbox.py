"""What one subscriber is owed, and in which portions and order it goes out."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import mailbox, subscription, wire
from bridge.changes import Effect
from bridge.mailbox import Mailbox
from bridge.subscription import Subscription
from bridge.wire import Message
from tests.support.sinks import FakeSink


def change(key: str, version: str, effect: Effect = Effect.UPDATE) -> wire.ChangeMessage:
    return wire.change("t", "t", effect, f'"{key}"', "{}", version)


class Reader:
    """A mailbox with one subscription, brought up to date at version `m` but for `room`."""

    def __init__(self, room: int | None = None, pages: int = 1) -> None:
        self.wanted: list[Subscription] = []
        self.sink = FakeSink(room)
        self.mailbox = Mailbox(self.sink, self.wanted.append)
        self.subscription = Subscription(self.mailbox, wire.Subscribe("t"))
        self.mailbox.subscriptions["t"] = self.subscription
        self.bring_up("m", pages)

    def bring_up(self, version: str, pages: int = 1) -> None:
        self.subscription.bring_up([Message(f'"page {n}"') for n in range(pages)], version)
        self.send()

    def offer(self, key: str, version: str, effect: Effect = Effect.UPDATE) -> None:
        if self.subscription.offer((key,), change(key, version, effect)):
            self.send()

    def send(self) -> None:
        self.mailbox.mark(self.subscription)
        self.mailbox.flush()

    def news(self) -> list[Any]:
        return [_brief(message) for message in self.sink.news()]


def _brief(message: Any) -> Any:
    if isinstance(message, str):
        return message
    match message["type"]:
        case "change":
            return f"{message['op']} {message['key']}@{message['version']}"
        case "status":
            return message["state"]
        case other:
            return other


def test_a_change_older_than_the_snapshot_is_dropped() -> None:
    reader = Reader()
    for version in "lmn":
        reader.offer("a", version)
    assert reader.news() == ["subscribed", "page 0", "update a@m", "update a@n"]


def test_changes_keep_the_order_of_their_versions() -> None:
    reader = Reader(room=0)
    for key, version in [("a", "n"), ("b", "o"), ("a", "p")]:
        reader.offer(key, version)
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news() == ["subscribed", "page 0", "update b@o", "update a@p"]


def test_what_is_unsent_is_counted() -> None:
    reader = Reader(room=0, pages=2)
    for key, version in [("a", "n"), ("b", "o"), ("a", "p")]:
        reader.offer(key, version)
    reader.mailbox.lane.put(Message('"event"'))
    assert reader.mailbox.unsent == 5, "two pages, two keys and an event"
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.mailbox.unsent == 0


def test_an_unsent_change_gives_way_to_a_newer_one() -> None:
    reader = Reader()
    reader.sink.room = 0
    reader.offer("a", "n", Effect.INSERT)
    reader.offer("a", "o")
    reader.offer("b", "n", Effect.DELETE)
    reader.offer("b", "o", Effect.INSERT)
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news()[2:] == ["insert a@o", "update b@o"]


def test_a_new_snapshot_replaces_what_was_unsent() -> None:
    reader = Reader(room=0, pages=2)
    reader.offer("a", "n")
    reader.subscription.want()
    for key, version in [("a", "o"), ("b", "r")]:
        reader.offer(key, version)
    reader.bring_up("q")
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news() == ["subscribed", "page 0", "update b@r"]


def test_nothing_is_written_to_one_who_takes_nothing() -> None:
    reader = Reader(room=0)
    reader.mailbox.reply(wire.pong())
    assert reader.sink.writes == []
    reader.sink.room = 1
    reader.mailbox.flush()
    assert [len(write) for write in reader.sink.writes] == [3]


def test_a_chunk_is_written_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    page = len('"page 0"')
    monkeypatch.setattr(mailbox, "CHUNK", 2 * page)
    reader = Reader(room=0, pages=5)
    for room, pages in [(1, 2), (1, 4), (1, 5)]:
        reader.sink.room = room
        reader.mailbox.flush()
        assert sum(isinstance(m, str) for m in reader.sink.messages) == pages
    reader.mailbox.reply(wire.pong())
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news()[-1] == "pong"


def test_a_reply_does_not_overtake_rows_or_another_reply() -> None:
    reader = Reader(room=0, pages=2)
    reader.mailbox.fall_behind()
    reader.mailbox.fall_behind()
    reader.mailbox.settle()
    reader.mailbox.settle()
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news() == ["subscribed", "page 0", "page 1", "stale", "live"]


def test_live_waits_for_what_is_owed() -> None:
    reader = Reader()
    reader.mailbox.fall_behind()
    reader.mailbox.flush()
    reader.subscription.want()
    reader.mailbox.settle()
    assert reader.news()[2:] == ["stale"]
    reader.bring_up("n")
    reader.mailbox.settle()
    assert reader.news() == ["page 0", "live"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "CAPACITY", 2)


@pytest.mark.usefixtures("small")
def test_past_its_capacity_it_forgets_and_asks_when_it_can_write() -> None:
    reader = Reader()
    reader.sink.room = 0
    for key in "abcdefghi":
        reader.offer(key, "n")
    assert (reader.wanted, reader.subscription.changes) == ([], {})
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.wanted == [reader.subscription]
    assert reader.news() == ["subscribed", "page 0"]
    assert not reader.subscription.postponed


@pytest.mark.usefixtures("small")
def test_pages_that_have_begun_get_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "CHUNK", 1)
    reader = Reader(room=1, pages=3)
    for key in "abc":
        reader.offer(key, "n")
    assert reader.wanted == []
    reader.sink.room = None
    reader.mailbox.flush()
    assert reader.news() == ["subscribed", "page 0", "page 1", "page 2"]
    assert reader.wanted == [reader.subscription]


@pytest.mark.usefixtures("small")
def test_too_many_changes_during_a_read_ask_for_another() -> None:
    reader = Reader()
    reader.subscription.want()
    for key in "abc":
        reader.offer(key, "n")
    assert reader.wanted == [reader.subscription]
    assert reader.news() == ["subscribed", "page 0"]


def test_who_resumes_gets_all_that_a_cursor_stands_for_before_it() -> None:
    reader = Reader(room=0)
    reader.subscription.want()
    reader.offer("b", "o", Effect.UPDATE)  # since the read that it is resumed by
    missed = [(key, change(key, "n", Effect.DELETE)) for key in ("b", "a")]
    reader.subscription.resume([((key,), told) for key, told in missed], "n", "s.cursor")
    reader.sink.room = None
    reader.send()
    assert reader.news()[-3:] == ["delete b@n", "delete a@n", "update b@o"]


def test_the_cursor_is_with_the_last_of_what_was_missed() -> None:
    reader = Reader(room=0)
    reader.subscription.want()
    missed = [((key,), change(key, "n")) for key in ("a", "b")]
    reader.subscription.resume(missed, "n", "s.cursor")
    assert [message.cursor for message in reader.subscription.pages] == [None, "s.cursor"]
