"""The wire: commands in, messages out, each encoded once for all who get it.

Rows arrive as the JSON text PostgreSQL wrote and are spliced into messages as they
are: never parsed, never written anew, so nothing that JSON can say is lost here.
"""

from __future__ import annotations

import json
import math
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import ProtocolError
from bridge.message import Bundle as Bundle
from bridge.message import ChangeMessage as ChangeMessage
from bridge.message import Message as Message
from bridge.message import News as News
from bridge.message import Page as Page
from bridge.message import changed, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.changes import Effect, State

PROTOCOL = 1


class CloseCode(IntEnum):
    """Why a connection ends: below 4500 come back with jitter, from 4500 on do not."""

    TOO_LARGE = 1009
    RESTARTING = 1012
    TOKEN_EXPIRED = 4401
    STALLED = 4408
    OVER_LIMIT = 4429
    BAD_TOKEN = 4500
    FORBIDDEN = 4503


class ErrorCode(StrEnum):
    """Why a command was not done; the connection stays."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_TOPIC = "unknown_topic"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    MESSAGE_TOO_LARGE = "message_too_large"
    SNAPSHOT_TOO_LARGE = "snapshot_too_large"
    UNAVAILABLE = "unavailable"


def _message(kind: str, **fields: Any) -> Message:
    return Message(encode({"type": kind, **fields}))


def welcome(instance: str, version: str) -> Message:
    return _message("welcome", protocol=PROTOCOL, instance=instance, version=version)


def subscribed(
    topic: str,
    id: Any,  # noqa: A002
    *,
    resumed: bool = False,
    cursor: str | None = "",
) -> Message:
    """`cursor` is for whom no snapshot brings one; an empty one takes back the others."""
    where = {"cursor": cursor} if cursor else {}
    fields = {"type": "subscribed", "topic": topic, **_id(id), "resumed": resumed, **where}
    return Message(encode(fields), topic, cursor)


def unsubscribed(topic: str) -> Message:
    return _message("unsubscribed", topic=topic)


def status(state: str) -> Message:
    return _message("status", state=state)


def authenticated(expires: float | None) -> Message:
    """`expires` is seconds since 1970; None where nobody is asked for a token."""
    about = {} if expires is None else {"expires": math.floor(expires)}
    return _message("authenticated", **about)


def pong() -> Message:
    return _message("pong")


def error(
    code: str,
    message: str,
    topic: str | None = None,
    id: Any = None,  # noqa: A002
    cursor: str | None = None,
) -> Message:
    """`cursor` goes on behind what the error is about."""
    about = {} if topic is None else {"topic": topic}
    where = {} if cursor is None else {"cursor": cursor}
    fields = {"type": "error", "code": str(code), "message": message}
    return Message(encode(fields | about | _id(id) | where), topic, cursor)


def refused(message: Message) -> tuple[str, str] | None:
    """Why a topic is not followed, as (code, message), if that is what this message says."""
    if message.kind != "error":
        return None
    fields = json.loads(message.text)
    # A row that cannot be read refuses itself and not its topic.
    return None if fields["code"] == ErrorCode.UNAVAILABLE else (fields["code"], fields["message"])


def _id(value: Any) -> dict[str, Any]:
    return {} if value is None else {"id": value}


def change(
    topic: str,
    table: str,
    effect: Effect,
    key: str,
    row: str | None,
    version: str,
    cursor: str | None = None,
) -> ChangeMessage:
    """A change of one key in one topic; `key` and `row` are JSON text, a delete's row is None."""
    tail = f'"key":{key},"row":{row or "null"},"version":"{version}"'
    return ChangeMessage((changed(topic, table), tail), effect, version, topic, cursor)


def event(topic: str, table: str, state: State, cursor: str | None) -> Message:
    """A row of a log table, whose state says its position behind its other values."""
    about = f'{{"type":"event","topic":{encode(topic)},"table":{encode(table)}'
    row = f'"key":{state.key_json},"row":{state.row},"position":{state.values[-1]}'
    end = "" if cursor is None else f',"cursor":{encode(cursor)}'
    return Message(f"{about},{row}{end}}}", topic, cursor)


PAGE = 64 * 1024
"""Characters of rows after which a snapshot's page is full."""


def snapshot(
    topic: str, rows: Sequence[tuple[str, str]], version: str, cursor: str | None = None
) -> list[Message]:
    """All rows of a topic, as (key, row) JSON texts → its pages; at least one.

    Only the last has the cursor: a part of the pages is nothing to go on from.
    """
    pages = _pages([f'{{"key":{key},"row":{row}}}' for key, row in rows])
    *before, last = [(page, n == 0) for n, page in enumerate(pages)]
    return [
        *(Page(topic, page, version, first=first, last=False, cursor="") for page, first in before),
        Page(topic, last[0], version, first=last[1], last=True, cursor=cursor or ""),
    ]


def _pages(rows: list[str]) -> list[list[str]]:
    pages: list[list[str]] = [[]]
    size = 0
    for row in rows:
        if size >= PAGE:
            pages.append([])
            size = 0
        pages[-1].append(row)
        size += len(row)
    return pages


class Position(NamedTuple):
    """Where in a log topic to begin: after this value of its position column, as text."""

    after: str


class Subscribe(NamedTuple):
    """`since` is a cursor, or for log topics also START or a Position."""

    topic: str
    id: Any = None
    snapshot: bool = True
    since: str | Position | None = None


START = "start"
"""The `since` of who wants a log topic from its first row."""


class Unsubscribe(NamedTuple):
    topic: str


class Authenticate(NamedTuple):
    token: str

    def __repr__(self) -> str:
        return "Authenticate(token=…)"


class Ping(NamedTuple):
    pass


Command = Subscribe | Unsubscribe | Authenticate | Ping


ID = 256
"""Characters of JSON that a client may have echoed; it is kept as long as its subscription."""


def parse(frame: str | bytes) -> Command:
    """A subscriber's frame → its command. Raises `ProtocolError` saying what would be right."""
    message = _object(frame)
    kind = message.get("type")
    if kind == "ping":
        return Ping()
    if kind == "subscribe":
        flag = _flag(message, "snapshot")
        return Subscribe(_text(message, "topic"), _echo(message), flag, _since(message))
    if kind == "unsubscribe":
        return Unsubscribe(_text(message, "topic"))
    if kind == "auth":
        return Authenticate(_text(message, "token", secret=True))
    if kind is None:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, 'the message has no "type"')
    raise ProtocolError(
        ErrorCode.UNKNOWN_TYPE,
        f"unknown type {_short(kind)}; known are subscribe, unsubscribe, auth, ping",
    )


def _object(frame: str | bytes) -> dict[str, Any]:
    if isinstance(frame, bytes):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "binary frame; send JSON in a text frame")
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "the message is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "the message is not a JSON object")
    return message


def _text(message: dict[str, Any], name: str, *, secret: bool = False) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        found = "not text" if secret else _short(value)
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f'"{name}" is {found}; give a string')
    return value


def _echo(message: dict[str, Any]) -> Any:
    """The client's `id`. What could not be written again (NaN, deep nesting) is refused here."""
    value = message.get("id")
    try:
        fits = len(json.dumps(value, allow_nan=False)) <= ID
    except (ValueError, RecursionError):
        fits = False
    if not fits:
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE,
            f'"id" is not JSON of at most {ID} characters; give a shorter one',
        )
    return value


def _since(message: dict[str, Any]) -> str | Position | None:
    """A cursor may be anything: what is none of ours is answered by a snapshot."""
    value = message.get("since")
    if value is None or isinstance(value, str):
        return value
    position = value.get("position") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(position, (str, int, float)) and not isinstance(position, bool):
        return Position(position if isinstance(position, str) else json.dumps(position))
    raise ProtocolError(
        ErrorCode.BAD_MESSAGE,
        f'"since" is {_short(value)}; give a cursor, "start" or {{"position": N}}',
    )


def _flag(message: dict[str, Any], name: str) -> bool:
    value = message.get(name, True)
    if not isinstance(value, bool):
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE, f'"{name}" is {_short(value)}; give true or false'
        )
    return value


def _short(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = encode(value)
    return text if len(text) <= 60 else text[:57] + "..."
