"""An event before and after it is published, and why one was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be appended. `data` is anything that JSON can say."""

    data: Any
    event_type: str = "event"
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Recorded(NamedTuple):
    """Where an event was written: its place among all, and its number in its channel."""

    position: int
    version: int
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is in the database; `timestamp` has a time zone."""

    position: int
    channel: str
    version: int
    event_type: str
    timestamp: datetime
    data: Any
    metadata: Mapping[str, Any]


class EventError(BridgeError):
    """An event could not be published."""


class VersionConflict(EventError):  # noqa: N818
    """Somebody else has appended to the channel: it is not at the version that was expected."""

    def __init__(self, channel: str, expected: int, actual: int) -> None:
        self.channel, self.expected, self.actual = channel, expected, actual
        super().__init__(
            f"channel {channel!r} is at version {actual}, not {expected};"
            " read what came since, and decide again"
        )


class UnknownEventType(EventError):  # noqa: N818
    """The event's type is none of those that are declared."""


class InvalidEvent(EventError):  # noqa: N818
    """The event is not what its type, or the database, takes."""
