"""What one subscriber is still owed of log topics: everything, in order, once.

Nothing is conflated here, so the bound is kept by who puts things in: past `FULL` the
topics of this subscriber are no longer put in as they come, but read from the log again,
page by page, each when the one before has been taken. What is in here goes out first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.message import Message

MESSAGES = 1_000
"""Unsent messages of one subscriber, and …"""

CHARACTERS = 1024 * 1024
"""… their characters, past which it has fallen behind."""

NOTHING: deque[Message] = deque(maxlen=0)
"""The one that all share who have none: by itself an empty deque takes 760 bytes."""


def _rest() -> None:
    pass


class Lane:
    """One subscriber's; `on_empty` is called when all has been handed over, and must not wait."""

    __slots__ = ("_characters", "behind", "messages", "on_empty")

    def __init__(self) -> None:
        self.messages: deque[Message] = NOTHING
        self._characters = 0
        self.on_empty: Callable[[], None] = _rest
        self.behind = False
        """Whether events may be missing that `live` would claim were sent."""

    def __bool__(self) -> bool:
        return bool(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def characters(self) -> int:
        return self._characters

    @property
    def full(self) -> bool:
        return len(self.messages) > MESSAGES or self._characters > CHARACTERS

    def put(self, message: Message) -> None:
        if not self.messages:
            self.messages = deque()
        self.messages.append(message)
        self._characters += len(message.text)

    def extend(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.put(message)

    def drop(self, topic: str) -> None:
        """What is unsent about a topic, which nobody follows any more."""
        kept = [message for message in self.messages if message.topic != topic]
        self.messages = deque(kept) if kept else NOTHING
        self._characters = sum(len(message.text) for message in kept)

    def take(self, room: int) -> list[Message]:
        """The next messages, as long as there are characters of room left."""
        taken: list[Message] = []
        while self.messages and room > 0:
            taken.append(self.messages.popleft())
            room -= len(taken[-1].text)
            self._characters -= len(taken[-1].text)
        if taken and not self.messages:
            self.messages = NOTHING
            self.on_empty()
        return taken
