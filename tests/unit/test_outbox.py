"""Writing in slices: others have their turn in between, and nothing comes out of order."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING

import pytest

from bridge import mailbox, outbox, wire
from bridge.audience import Heard, hand_out
from bridge.changes import Effect
from bridge.errors import ProtocolError
from bridge.outbox import Outbox
from bridge.wire import Subscribe
from tests.support.sinks import FakeSink
from tests.unit.test_hub import Bench, brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.mailbox import Mailbox
    from bridge.wire import Bundle


class Clock:
    """Goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Sliced(Bench):
    """A hub of which one mailbox is written in a turn of the loop, which is played by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: deque[Callable[[], None]] = deque()
        self.hub.outbox = Outbox(self.hub._settle, clock=Clock())
        self.hub.outbox.later = self.slices.append

    def turn(self) -> None:
        """Make way for what came during the last slice, and then write the next."""
        for _ in range(2):
            self.slices.popleft()()

    def finish(self) -> None:
        while self.slices:
            self.turn()


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> Sliced:
    monkeypatch.setattr(outbox, "AT_LEAST", 1)
    return Sliced()


def follow(bench: Sliced, count: int) -> list[tuple[Mailbox, FakeSink]]:
    """So many subscribers of `orders`, up to date at version `a`."""
    joined = [bench.join("orders") for _ in range(count)]
    bench.serve("a", 1)
    bench.finish()
    for _, sink in joined:
        sink.news()
    return joined


def test_one_slice_at_a_time_until_all_are_written(sliced: Sliced) -> None:
    sinks = [sink for _, sink in follow(sliced, 3)]
    sliced.publish("b", 1)
    written = [[len(sink.writes) for sink in sinks]]
    assert sliced.hub.outbox.writing
    while sliced.slices:
        sliced.turn()
        written.append([len(sink.writes) for sink in sinks])
    assert [sum(counts) - sum(written[0]) for counts in written] == [0, 1, 2]
    assert not sliced.hub.outbox.writing


def test_a_newer_flush_does_not_overtake(sliced: Sliced) -> None:
    sinks = [sink for _, sink in follow(sliced, 3)]
    written = sum(len(sink.writes) for sink in sinks)
    for version in "bcd":
        sliced.publish(version, 1)
    assert sum(len(sink.writes) for sink in sinks) - written == 1, "the others wait for a turn"
    sliced.finish()
    for sink in sinks:
        assert brief(sink.news()) == ["update 1@b", "update 1@c", "update 1@d"]


def test_news_too_long_for_one_write_are_written_in_several(
    sliced: Sliced, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, sink),) = follow(sliced, 1)
    monkeypatch.setattr(mailbox, "CHUNK", 1)
    sliced.publish("b", 1, 2)
    assert [brief(write) for write in sink.writes[-2:]] == [["update 1@b"], ["insert 2@b"]]


def test_who_is_not_written_yet_gets_replies_after_rows(sliced: Sliced) -> None:
    (_, first), (mailbox, last) = follow(sliced, 2)
    sliced.publish("b", 1)
    mailbox.reply(wire.pong())
    assert brief(last.news()) == ["update 1@b", "pong"]
    sliced.finish()
    assert (brief(first.news()), last.news()) == (["update 1@b"], [])


def test_a_snapshot_in_between_shows_what_was_not_written(sliced: Sliced) -> None:
    _, (_, last) = follow(sliced, 2)
    sliced.publish("b", 1)
    sliced.hub.gap("orders")
    sliced.serve("c", 1)
    sliced.finish()
    assert brief(last.news()) == ["snapshot 1@c"]


def test_a_newcomer_in_between_gets_a_snapshot(sliced: Sliced) -> None:
    follow(sliced, 2)
    sliced.publish("b", 1)
    _, sink = sliced.join("orders")
    sliced.finish()
    sliced.serve("b", 1)
    sliced.finish()
    assert brief(sink.news()) == ["subscribed", "snapshot 1@b"]


def test_who_stopped_reading_has_what_it_was_put_by_key(sliced: Sliced) -> None:
    _, (mailbox, last) = follow(sliced, 2)
    last.room = 0
    for version in "bc":
        sliced.publish(version, 1)
    sliced.finish()
    assert mailbox.unsent == 1
    last.room = None
    mailbox.flush()
    assert brief(last.news()) == ["update 1@c"]


def test_news_that_pile_up_are_kept_by_key(sliced: Sliced) -> None:
    _, (_, last) = follow(sliced, 2)
    for version in "bcdefghijkl":
        sliced.publish(version, 1)
    sliced.finish()
    assert brief(last.news()) == ["update 1@l"]


def test_news_do_not_overtake_what_is_kept_by_key(sliced: Sliced) -> None:
    ((_, sink),) = follow(sliced, 1)
    sink.room = 0
    sliced.publish("b", 1)
    sink.room = None
    sliced.publish("c", 2)
    assert brief(sink.news()) == ["update 1@b", "insert 2@c"]


def test_news_older_than_a_snapshot_are_dropped_one_by_one(sliced: Sliced) -> None:
    ((mailbox, sink),) = follow(sliced, 1)
    subscription = mailbox.subscriptions["orders"]
    subscription.floor = "n"
    changes = [Heard(key, change(key, version), everybody=True) for key, version in OLD_AND_NEW]
    hand_out("orders", [subscription], changes, touched := {})
    sliced.hub.outbox.send(touched)
    sliced.finish()
    assert brief(sink.news()) == ["update 2@o"]


OLD_AND_NEW = [('{"id":1}', "m"), ('{"id":2}', "o")]


def change(key: str, version: str) -> wire.ChangeMessage:
    return wire.change("orders", "orders", Effect.UPDATE, key, "{}", version)


def test_a_revoked_topic_takes_along_what_was_not_written(sliced: Sliced) -> None:
    _, (mailbox, last) = follow(sliced, 2)
    sliced.publish("b", 1)
    sliced.hub.revoke(mailbox, "orders", ProtocolError(wire.ErrorCode.FORBIDDEN, "no more"))
    sliced.finish()
    assert brief(last.news()) == ["error forbidden"]


def test_live_comes_after_the_rows(sliced: Sliced) -> None:
    joined = follow(sliced, 3)
    sliced.hub.stale()
    sliced.hub.resume()
    sliced.serve("b", 1)
    sliced.finish()
    for _, sink in joined:
        said = brief(sink.news())
        assert (sorted(said), said[-1]) == (["live", "snapshot 1@b", "stale"], "live")


def test_two_topics_of_one_flush_are_one_write(sliced: Sliced) -> None:
    _, sink = sliced.join("orders", "orders/1")
    sliced.serve("a", 1)
    sliced.finish()
    writes = len(sink.writes)
    sliced.publish("b", 1)
    assert [len(write) for write in sink.writes[writes:]] == [2]


class Sharing(FakeSink):
    """Remembers the very bundles."""

    def __init__(self) -> None:
        super().__init__()
        self.bundles: list[Bundle] = []

    def write(self, bundle: Bundle) -> None:
        super().write(bundle)
        self.bundles.append(bundle)


def test_a_frame_is_made_once_for_all_who_hear_the_same(sliced: Sliced) -> None:
    sinks = [Sharing() for _ in range(3)]
    for sink in sinks:
        sliced.hub.subscribe(sliced.hub.join(sink, wire.welcome("a", "0")), Subscribe("orders"))
    sliced.serve("a", 1)
    sliced.finish()
    sliced.publish("b", *range(20))
    sliced.finish()
    first, *others = [sink.bundles[-1] for sink in sinks]
    assert len(first) == 20
    assert all(other is first for other in others)
    assert first.frames is first.frames


async def test_the_loop_turns_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand subscribers, sixteen a slice: after each the loop looks who came meanwhile, and
    reads what they said before the next."""
    bench = Sliced()
    monkeypatch.setattr(outbox, "AT_LEAST", 16)
    follow(bench, 1000)
    bench.hub.outbox.later = asyncio.get_running_loop().call_soon
    bench.publish("b", 1)
    turns = 0
    while bench.hub.outbox.writing:
        await asyncio.sleep(0)
        turns += 1
    assert turns == 2 * (1000 // 16)


async def test_who_speaks_during_a_slice_is_heard_before_the_next(sliced: Sliced) -> None:
    loop, order = asyncio.get_running_loop(), []
    ours, theirs = socket.socketpair()

    class Speaking(FakeSink):
        def write(self, bundle: Bundle) -> None:
            order.append("written")
            theirs.send(b".")

    def hear() -> None:
        order.append(f"heard {len(ours.recv(16))}")

    for one, _ in follow(sliced, 3):
        one.sink = Speaking()
    sliced.hub.outbox.later = loop.call_soon
    loop.add_reader(ours, hear)
    with ours, theirs:
        sliced.publish("b", 1)
        await sliced.hub.outbox.written()
        loop.remove_reader(ours)
    assert order == ["written", "heard 1", "written", "heard 1", "written"]


def test_a_sink_that_fails_does_not_end_the_others_writes(sliced: Sliced) -> None:
    class Failing(FakeSink):
        def write(self, bundle: Bundle) -> None:
            raise ValueError("broken")

    joined = follow(sliced, 2)
    joined[0][0].sink = broken = Failing()
    for version in "bc":
        sliced.publish(version, 1)
        sliced.finish()
    assert broken.ended == (wire.CloseCode.RESTARTING, "internal error")
    assert brief(joined[1][1].news()) == ["update 1@b", "update 1@c"]
