"""The wire as a subscriber sees it: what it is sent, and what it asks for. Pure.

Numbers with a point are `Decimal`, so that they are what PostgreSQL wrote. Types and
fields that are not known are passed over.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROTOCOL = 1
"""The one that is known here."""

Document: TypeAlias = dict[str, Any]
"""A key or a row, by column."""

Since: TypeAlias = "str | Mapping[str, Any] | None"
"""Where to resume: one cursor for all topics, or one by topic. Of log topics also "start", and
by topic `{"position": …}`."""


class Subscribed(NamedTuple):
    """Changes of the topic are being captured. `resumed`: no snapshot comes first.

    Of a log topic, one that is not says that events are missing between those before and after;
    `cursor` is where it then begins.
    """

    topic: str
    resumed: bool
    cursor: str | None = None


class Entry(NamedTuple):
    key: Document
    row: Document


class Snapshot(NamedTuple):
    """One page; with `first`, forget what you held of the topic."""

    topic: str
    rows: tuple[Entry, ...]
    first: bool
    last: bool
    version: str
    cursor: str | None = None


class Change(NamedTuple):
    """A row that came, changed, or (`row` is None) went."""

    topic: str
    table: str
    op: str
    key: Document
    row: Document | None
    version: str
    cursor: str | None = None


class Event(NamedTuple):
    """A row of a log table, once. `position` is what orders the rows."""

    topic: str
    table: str
    key: Document
    row: Document
    position: Any
    cursor: str | None = None


class Status(NamedTuple):
    """`stale`: what you hold may be old. `live`: it is not."""

    state: str


class Refused(NamedTuple):
    """An error of the protocol; `topic` is None if it is about none.

    With a `cursor`, it is about events that cannot be read, and those behind them follow.
    """

    code: str
    message: str
    topic: str | None = None
    cursor: str | None = None


class Lost(NamedTuple):
    """Not from the server: the connection is gone, and is tried again in `delay` seconds."""

    reason: str
    delay: float


Message: TypeAlias = Subscribed | Snapshot | Change | Event | Status | Refused | Lost


def decode(text: str) -> dict[str, Any]:
    """Raises BridgeError if this is no message of the protocol."""
    try:
        fields = json.loads(text, parse_float=Decimal)
        spoken = fields["protocol"] if fields["type"] == "welcome" else PROTOCOL
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BridgeError(f"not a message of a bridge: {text[:80]!r}") from None
    if spoken != PROTOCOL:
        raise BridgeError(
            f"the bridge speaks protocol {spoken}, this client {PROTOCOL}; install the rowcast of"
            " the bridge's version"
        )
    return dict(fields)


def typed(fields: Mapping[str, Any]) -> Message | None:
    """A message's fields → the message; None if its type is not known."""
    make = _TYPES.get(fields["type"])
    try:
        return None if make is None else make(fields)
    except (KeyError, TypeError) as error:
        raise BridgeError(f"a {fields['type']} without {error}") from None


def _snapshot(fields: Mapping[str, Any]) -> Snapshot:
    rows = tuple(Entry(entry["key"], entry["row"]) for entry in fields["rows"])
    about = fields["version"], fields.get("cursor")
    return Snapshot(fields["topic"], rows, fields["first"], fields["last"], *about)


def _change(fields: Mapping[str, Any]) -> Change:
    return Change(
        topic=fields["topic"],
        table=fields["table"],
        op=fields["op"],
        key=fields["key"],
        row=fields["row"],
        version=fields["version"],
        cursor=fields.get("cursor"),
    )


def _event(fields: Mapping[str, Any]) -> Event:
    about = fields["key"], fields["row"], fields["position"], fields.get("cursor")
    return Event(fields["topic"], fields["table"], *about)


_TYPES: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    "subscribed": lambda fields: Subscribed(
        fields["topic"], fields["resumed"], fields.get("cursor")
    ),
    "snapshot": _snapshot,
    "change": _change,
    "event": _event,
    "status": lambda fields: Status(fields["state"]),
    "error": lambda fields: Refused(
        fields["code"], fields["message"], fields.get("topic"), fields.get("cursor")
    ),
}


class Following:
    """The topics of one connection, and where each of them may be resumed after it."""

    def __init__(self, topics: Iterable[str], since: Since = None) -> None:
        self.cursors: dict[str, Any] = {
            topic: since if since is None or isinstance(since, str) else since.get(topic)
            for topic in topics
        }

    def commands(self) -> list[str]:
        """What to send once connected."""
        return [
            json.dumps({"type": "subscribe", "topic": topic} | _since(cursor))
            for topic, cursor in self.cursors.items()
        ]

    def take(self, fields: Mapping[str, Any]) -> None:
        """Until a snapshot's last page there is nothing to resume: the pages would be missing."""
        topic, kind = fields.get("topic"), fields["type"]
        if topic not in self.cursors:
            return
        half = kind == "snapshot" and not fields["last"]
        if fields.get("cursor") and not half:
            self.cursors[topic] = fields["cursor"]
        elif half or fields.get("resumed") is False:
            self.cursors[topic] = None


def _since(cursor: Any) -> dict[str, Any]:
    return {} if cursor is None else {"since": cursor}
