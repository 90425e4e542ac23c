"""What an instance says of itself, and how it is asked: `rowcast status`. Pure.

The question is a notification on the channel that all instances listen to anyway:

    {"probe":"status","to":"0123456789abcdef"}

It looks like a probe, so an older bridge leaves it alone. The answer is JSON, by a notification on
a channel named after `to`, which only the one who asks listens to. Both may be sent by any role
of the database, so nothing in them is believed further than to be shown, and nothing is told that
the role could not learn from the system's views: no rows, keys, topics, users or secrets.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 7999
"""Bytes that a notification may have."""

REASONS = 10
"""Reasons that are told, and …"""

LENGTH = 300
"""… the characters of each: both together are far below the limit."""

_HARMLESS = frozenset({"database", "listener", "stop", "triggers"})

_ASKED = re.compile(rb'\{"probe":"status","to":"([0-9a-f]{16})"\}')


class Status(NamedTuple):
    """`since` is seconds since 1970; `lag` is in seconds, of what durable and log tables kept;
    `queue` is the share of the NOTIFY queue in use; `address` is what it listens on."""

    instance: str = ""
    version: str = ""
    host: str = ""
    pid: int = 0
    address: str = ""
    since: float = 0.0
    ready: bool = False
    reasons: tuple[str, ...] = ()
    subscribers: int = 0
    topics: int = 0
    dirty: int = 0
    lag: float = 0.0
    leading: bool = False
    queue: float = 0.0
    drift: int = 0


def question(to: str) -> str:
    return f'{{"probe":"status","to":"{to}"}}'


def asked(payload: bytes) -> str | None:
    """Whom to answer, if this is the question."""
    found = _ASKED.fullmatch(payload)
    return found[1].decode() if found else None


def channel(to: str) -> str:
    """Where whoever asked listens."""
    return f"rowcast_status_{to}"


def outline(reasons: Mapping[str, str]) -> Iterator[str]:
    """Reasons against being ready, by who gave them, as every role may hear them: of a read that
    fails not what PostgreSQL said, which may quote a value."""
    for who, why in reasons.items():
        yield why if who in _HARMLESS else f"{who} fails; the log of the instance says why"


def encode(status: Status) -> str:
    """As a notification can carry it; reasons that are long or many are cut."""
    reasons = [reason[:LENGTH] for reason in status.reasons[:REASONS]]
    fields = status._asdict() | {"reasons": reasons}
    text = json.dumps(fields)
    if len(text) > LIMIT:  # JSON in ASCII, where one character may take twelve bytes
        text = json.dumps(fields | {"reasons": [_plain(reason) for reason in reasons]})
    return text


def decode(text: str) -> Status | None:
    """What somebody answered; None if it is no answer. Fields of newer bridges are left out."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _status(given) if isinstance(given, dict) else None


def _status(given: dict[str, Any]) -> Status:
    """What has another type than it should have is as if it were not there."""
    known: dict[str, Any] = {}
    default: Any
    for name, default in Status()._asdict().items():
        value = given.get(name)
        if isinstance(default, tuple) and isinstance(value, list):
            known[name] = tuple(str(one) for one in value)
        elif isinstance(default, float) and type(value) in (int, float):
            known[name] = float(value or 0)
        elif type(value) is type(default):
            known[name] = value
    return Status(**known)


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
