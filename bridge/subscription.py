"""One subscriber's interest in one topic, and what it is owed of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bridge import wire
from bridge.changes import Effect
from bridge.lane import NOTHING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from bridge.mailbox import Mailbox
    from bridge.viewer import Viewer
    from bridge.wire import ChangeMessage, Message

CAPACITY = 10_000
"""Unsent changes of one subscription."""


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
        self.farewells: Sequence[Message] = subscriber.recall(command.topic)
        self.since = command.since if isinstance(command.since, str) else None
        self.greeting: Message | None = wire.subscribed(command.topic, command.id)
        self.announced = False
        self.unproven = False
        self.owed: object | None = None
        self.floor: str | None = None
        self.request: object | None = None
        self.postponed = False
        self.pages: deque[Message] = NOTHING
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
        self.subscriber.unfold()
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
        self.subscriber.unfold()
        self.floor = None
        self.request = self.owed = None
        # It may have been one too many just now, as what was unsent was unfolded.
        self.postponed = False
        self.changes.clear()

    def forget(self, keys: Container[str]) -> None:
        """A snapshot of these keys came: a delete of any other would name what it has not shown."""
        self.subscriber.unfold()
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
        self.pages = deque(pages) if self.snapshot or self.announced else NOTHING
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
        self.subscriber.unfold()
        self.floor = version
        self.since = None
        newer = self.changes.items()
        self.changes = {key: message for key, message in newer if message.version > version}
