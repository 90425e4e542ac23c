"""A subscriber's connection without a network: it takes as much as a test lets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.wire import Bundle


class FakeSink:
    """Collects messages; takes `room` more writes, or any number if that is None."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.writes: list[list[dict[str, Any]]] = []
        self.ended: tuple[int, str] | None = None
        self.stalled_since: float | None = None
        self._seen = 0

    @property
    def writable(self) -> bool:
        return self.room is None or self.room > 0

    def write(self, messages: Bundle) -> None:
        assert self.writable, "written to although it takes nothing"
        assert messages, "a write of nothing"
        if self.room is not None:
            self.room -= 1
        self.writes.append([json.loads(message.text) for message in messages])

    def end(self, code: int, reason: str) -> None:
        self.ended = code, reason

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Everything so far, however it was grouped."""
        return [message for write in self.writes for message in write]

    def news(self) -> list[dict[str, Any]]:
        """What came since the last call."""
        fresh = self.messages[self._seen :]
        self._seen += len(fresh)
        return fresh
