"""What one subscriber is still owed.

A mailbox conflates: per subscription it holds the pages of one snapshot and, per key,
the newest change. A subscriber that reads slowly gets fewer and newer states, and
costs memory for the keys it follows, never for the updates they get. Past `CAPACITY`
unsent changes a subscription forgets them and is owed a new snapshot instead, once the
reader has taken the pages that it was being sent: so even the slowest gets to the end.

Nothing here waits. `flush` writes while the sink takes it; the sink calls `flush`
again when it can take more.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Protocol

from bridge import wire
from bridge.changes import Effect
from bridge.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from typing import TypeAlias

    from bridge.viewer import Viewer
    from bridge.wire import ChangeMessage, Message

    Permit: TypeAlias = Callable[[str], Viewer]

CAPACITY = 10_000
"""Unsent changes of one subscription."""

CHUNK = 256 * 1024
"""Characters handed to the sink at a time, so that one slow reader cannot fill its buffer."""


_numbers = count(1)


def everything(_topic: str) -> Viewer:
    """Permits it, to nobody in particular. Another `Permit` may say as whom its subscriber sees
    the topic, and raises ProtocolError for what it may not follow."""
    return None


class Sink(Protocol):
    """A subscriber's connection, as the hub sees it."""

    @property
    def writable(self) -> bool:
        """Whether a write would go out now rather than pile up."""

    def write(self, messages: list[Message]) -> None:
        """Send all of these in one go; never waits, never raises."""

    @property
    def stalled_since(self) -> float | None:
        """The loop's time since when the peer has taken nothing, or None."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection, within seconds even if the peer does not read."""


class Subscription:
    """One subscriber's interest in one topic.

    `floor` is the version of the snapshot it was brought up to date with; while it is
    None a snapshot is owed, and nothing but the pages of an earlier one is sent. `request`
    is the read that will bring it, once one has begun; changes are kept meanwhile. If
    `postponed`, none is asked for until the subscriber has read what it was sent. `since` is
    the cursor it came with, until it has been answered. `owed` is the loss, if any, after
    which it has not been told yet what changed; unlike a snapshot, that is not waited for.
    `unproven`: it resumed, so what it holds is what it held and what is known to have changed.
    """

    __slots__ = (
        "announced",
        "changes",
        "farewells",
        "floor",
        "greeting",
        "id",
        "owed",
        "pages",
        "postponed",
        "request",
        "since",
        "snapshot",
        "subscriber",
        "topic",
        "unproven",
        "viewer",
    )

    def __init__(self, subscriber: Mailbox, command: wire.Subscribe, viewer: Viewer = None) -> None:
        self.viewer = viewer
        self.subscriber = subscriber
        self.topic = command.topic
        self.id = command.id
        self.snapshot = command.snapshot
        self.farewells = subscriber.recall(wire.unsubscribed(command.topic))
        self.since = command.since if isinstance(command.since, str) else None
        self.greeting: Message | None = wire.subscribed(command.topic, command.id)
        self.announced = False
        self.unproven = False
        self.owed: object | None = None
        self.floor: str | None = None
        self.request: object | None = None
        self.postponed = False
        self.pages: deque[Message] = deque()
        self.changes: dict[str, ChangeMessage] = {}

    def again(self) -> wire.Subscribe:
        """The command that began it, to begin it anew."""
        return wire.Subscribe(self.topic, self.id, self.snapshot)

    @property
    def level(self) -> bool:
        """Whether nothing is owed but what is in the mailbox."""
        return self.floor is not None and self.owed is None

    def offer(self, key: str, message: ChangeMessage) -> bool:
        """Keep a change of a key, given as JSON; True if it can go out with the next flush."""
        if self.postponed or (self.floor is not None and message.version < self.floor):
            return False
        if (unsent := self.changes.pop(key, None)) is not None:
            message = message.after(unsent)
            self.subscriber.conflated += 1
        self.changes[key] = message
        if len(self.changes) > CAPACITY:
            return self._overflow()
        return self.floor is not None

    def _overflow(self) -> bool:
        if self.floor is None:
            self.subscriber.on_overflow(self)
            return False
        self.postpone()
        return True

    def postpone(self) -> None:
        """Owe a snapshot, to be read when the subscriber reads again: it may never do so."""
        self.want()
        self.postponed = True

    def want(self) -> None:
        """Owe a snapshot. Its read begins later, so it will show all that is unsent now."""
        self.floor = None
        self.request = self.owed = None
        self.changes.clear()

    def forget(self, keys: Container[str]) -> None:
        """A snapshot of these keys came: a delete of any other would name what it has not shown."""
        unsent = self.changes.items()
        self.changes = {
            key: change
            for key, change in unsent
            if key in keys or change.effect is not Effect.DELETE
        }

    def bring_up(self, pages: Iterable[Message], version: str) -> None:
        """A snapshot came: what it shows already need not be sent again.

        One who asked for none gets one all the same after a gap: it cannot know what it missed.
        """
        self._rise(version)
        self.pages = deque(pages if self.snapshot or self.announced else ())
        self.announced = True
        self.unproven = False

    def resume(
        self, missed: Iterable[tuple[str, ChangeMessage]], version: str, at: str | None
    ) -> None:
        """In place of a snapshot of that version: the changes by key that were missed.

        `at` is the cursor of who has got them all.
        """
        # Before what came since the read, and not in its place: who leaves in between has the
        # cursor, and must have all that it stands for.
        self._rise(version)
        told = [message for _, message in missed]
        if told and at:
            told[-1] = told[-1].at(at)
        self.pages = deque(told)
        bare = None if told else at
        self.greeting = wire.subscribed(self.topic, self.id, resumed=True, cursor=bare)
        self.announced = True
        self.unproven = True

    def _rise(self, version: str) -> None:
        """A read of this version came: what it shows need not be sent again."""
        self.floor = version
        self.since = None
        newer = self.changes.items()
        self.changes = {key: message for key, message in newer if message.version > version}


class Mailbox:
    """One subscriber: its subscriptions, and what it has not been sent yet.

    `number` is what it goes by in this process.
    """

    __slots__ = (
        *("_ready", "_replies", "behind", "conflated", "lane", "number"),
        *("on_overflow", "permit", "sink", "subscriptions"),
    )

    def __init__(
        self,
        sink: Sink,
        on_overflow: Callable[[Subscription], None],
        permit: Permit = everything,
    ) -> None:
        self.sink = sink
        self.number = next(_numbers)
        self.on_overflow = on_overflow
        self.permit = permit
        self.subscriptions: dict[str, Subscription] = {}
        self.behind = False
        self.conflated = 0
        self.lane = Lane()
        self._ready: dict[Subscription, None] = {}
        self._replies: deque[Message] = deque()

    @property
    def unsent(self) -> int:
        """Changes, pages and events that the subscriber has not taken yet."""
        return sum(len(s.changes) + len(s.pages) for s in self._ready) + len(self.lane)

    def reply(self, message: Message) -> None:
        """Send something that is not about a topic's rows; replies keep their order."""
        self._replies.append(message)
        self.flush()

    def recall(self, message: Message) -> list[Message]:
        """Take back replies not sent yet: rows go before replies, and these before some rows."""
        recalled = [reply for reply in self._replies if reply.text == message.text]
        for reply in recalled:
            self._replies.remove(reply)
        return recalled

    def mark(self, subscription: Subscription) -> None:
        """This subscription has something to send."""
        self._ready[subscription] = None

    def drop(self, subscription: Subscription) -> None:
        self._ready.pop(subscription, None)

    def flush(self) -> None:
        """Write what is owed for as long as the sink takes it."""
        while (self.lane or self._ready or self._replies) and self.sink.writable:
            if taken := self._take():
                self.sink.write(taken)

    def fall_behind(self) -> None:
        """The database is out of reach: say `stale`, once."""
        if not self.behind:
            self.behind = True
            self.reply(wire.status("stale"))

    def settle(self) -> None:
        """After a loss: say `live` once no snapshot is owed any more, nor an event."""
        level = all(subscription.level for subscription in self.subscriptions.values())
        if self.behind and level and not self.lane.behind:
            self.behind = False
            self.reply(wire.status("live"))

    def _take(self) -> list[Message]:
        """Up to CHUNK characters: rows first, then replies, so that no `live` overtakes a row."""
        taken = self.lane.take(CHUNK)
        room = CHUNK - sum(len(message.text) for message in taken)
        while self._ready and room > 0:
            subscription = next(iter(self._ready))
            taken += subscription.farewells
            subscription.farewells = []
            if subscription.greeting is not None:
                taken.append(subscription.greeting)
                subscription.greeting = None
            while subscription.pages and room > 0:
                taken.append(subscription.pages.popleft())
                room -= len(taken[-1].text)
            while not subscription.pages and subscription.changes and room > 0:
                taken.append(subscription.changes.pop(next(iter(subscription.changes))))
                room -= len(taken[-1].text)
            if not subscription.pages and not subscription.changes:
                self._finish(subscription)
        while self._replies and room > 0:
            taken.append(self._replies.popleft())
            room -= len(taken[-1].text)
        return taken

    def _finish(self, subscription: Subscription) -> None:
        del self._ready[subscription]
        if subscription.postponed:
            subscription.postponed = False
            self.on_overflow(subscription)
