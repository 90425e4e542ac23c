"""Server-Sent Events: what a WebSocket is sent, to those who only listen.

An EventSource comes back by itself after a stream that ended, and never again after a
status other than 200. So what will pass (a bridge that starts, a limit that is reached)
is told to one in a stream that ends at once, and only what will not is refused.

The id of an event says where all topics of its stream may be resumed: one cursor each,
in the order they were asked for. A topic that has not been answered keeps what it was asked
with, and one that has not been brought up to date has none.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, unquote

from websockets.datastructures import Headers
from websockets.http11 import Response

from bridge import wire
from bridge.errors import ProtocolError
from bridge.gateways.access import Stay
from bridge.gateways.connection import GRACE
from bridge.wire import ErrorCode, Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.auth.tokens import Grant
    from bridge.gateways.access import Access
    from bridge.gateways.connection import Connection
    from bridge.hub import Hub
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics
    from bridge.wire import Bundle, Message

COMMENT = 15.0
"""Seconds between comments, by which each side, and proxies, know that the other lives."""

ID = 4096
"""Bytes of an id; a longer one would not come back through every proxy."""

_ID = re.compile(r"[ -~]*")
_SEPARATOR = ","
_POSITION = "position="


class Asked(NamedTuple):
    """What a stream is to hold: topics, and for each where to resume, or an empty text."""

    topics: tuple[str, ...]
    cursors: tuple[str, ...]


def asked(query: str, last_event_id: str | None) -> Asked:
    """The query of a request, which is decoded once. Raises ProtocolError."""
    try:
        fields = parse_qs(query, errors="strict")
    except ValueError:
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE, "the query is not percent-encoded UTF-8"
        ) from None
    topics = tuple(dict.fromkeys(fields.get("topic", ())))
    if not topics:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "no topic; ask for /sse?topic=TOPIC")
    position = last_event_id or fields.get("last_event_id", [""])[-1]
    return Asked(topics, _cursors(position, len(topics)))


def _cursors(position: str, count: int) -> tuple[str, ...]:
    """An id as we wrote it, or one cursor for all."""
    if len(position) > ID or not _ID.fullmatch(position):
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE, f"Last-Event-ID is not printable ASCII of at most {ID} bytes"
        )
    cursors = tuple(position.split(_SEPARATOR))
    if len(cursors) == 1:
        return cursors * count
    # For other topics than these: there is nothing to resume from.
    return cursors if len(cursors) == count else ("",) * count


def beginning(text: str) -> str | Position | None:
    """A cursor, or what stands for one. Positions are percent-encoded: they may hold a comma."""
    if text.startswith(_POSITION):
        return Position(unquote(text.removeprefix(_POSITION)))
    return text or None


class EventStream:
    """A `Sink` that writes events to a connection that will read no more."""

    def __init__(self, connection: Connection, asked: Asked, metrics: Metrics) -> None:
        self._connection = connection
        # Until a topic is answered: who is cut off before that has not come any further.
        self._cursors = dict(zip(asked.topics, asked.cursors, strict=True))
        self._metrics = metrics

    @property
    def _open(self) -> bool:
        return not self._connection.transport.is_closing()

    @property
    def peer(self) -> str:
        return f"{self._connection.peer} by SSE"

    @property
    def writable(self) -> bool:
        return self.stalled_since is None and self._open

    @property
    def stalled_since(self) -> float | None:
        return self._connection.stalled_since

    def begin(self, head: Response) -> None:
        # A constant delay, which is all that EventSource has, must not be everybody's.
        retry = f"retry: {random.randint(1000, 5000)}\n\n"  # noqa: S311
        self._write(head.serialize() + retry.encode())

    def write(self, bundle: Bundle) -> None:
        moved = self._move(bundle.cursors) if bundle.cursors else False
        data = bundle.events(self._position() if moved else None)
        self._write(data)
        self._metrics.messages.value += len(bundle.messages)
        self._metrics.sent.value += len(data)

    def _move(self, cursors: Mapping[str, str]) -> bool:
        ours = {topic: cursor for topic, cursor in cursors.items() if topic in self._cursors}
        self._cursors.update(ours)
        return bool(ours)

    def _position(self) -> str:
        position = _SEPARATOR.join(self._cursors.values())
        return position if position.strip(_SEPARATOR) and len(position) <= ID else ""

    def end(self, code: int, reason: str) -> None:
        self._write(f": {code} {reason}\n\n".encode())
        self._connection.stalled_since = None
        self._connection.transport.close()
        self._connection.loop.call_later(GRACE, self._connection.transport.abort)

    async def hold(self) -> None:
        """Until the connection is gone."""
        while self._open:
            try:
                async with asyncio.timeout(COMMENT):
                    await self._connection.wait_closed()
            except TimeoutError:
                if self.writable:
                    self._write(b":\n\n")
        await self._connection.wait_closed()

    def _write(self, data: bytes) -> None:
        # The peer's end of file closes the transport, and writing to it then would raise.
        if self._open:
            self._connection.transport.write(data)


class Streams:
    """Takes requests for streams to the hub."""

    def __init__(self, hub: Hub, access: Access, metrics: Metrics, subscriptions: int) -> None:
        self._hub = hub
        self._access = access
        self._metrics = metrics
        self._limit = subscriptions

    def check(self, topics: Sequence[str], grant: Grant | None) -> None:
        """Raises ProtocolError if no stream of these could ever hold anything for this grant."""
        if len(topics) > self._limit:
            raise ProtocolError(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"at most {self._limit} topics per connection"
            )
        refusals = [error for topic in topics if (error := self._refusal(topic, grant))]
        if len(refusals) == len(topics):
            raise refusals[0]

    def _refusal(self, topic: str, grant: Grant | None) -> ProtocolError | None:
        try:
            self._access.check(grant, topic)
            self._hub.routes.resolve(topic)
        except ProtocolError as error:
            return error
        return None

    async def serve(
        self,
        connection: Connection,
        asked: Asked,
        head: Response,
        greeting: Message,
        grant: Grant | None,
    ) -> None:
        """Returns when the connection is gone."""
        connection.stream()
        stream = EventStream(connection, asked, self._metrics)
        stream.begin(head)
        stay = Stay(stream.end)
        mailbox = connection.mailbox = self._hub.join(
            stream, greeting, partial(self._access.check, grant)
        )
        try:
            for topic, since in zip(asked.topics, asked.cursors, strict=True):
                self._subscribe(mailbox, wire.Subscribe(topic, since=beginning(since)))
            if grant is not None:
                stay.begin(grant)
            await stream.hold()
        finally:
            stay.over()
            self._hub.leave(mailbox)

    def _subscribe(self, mailbox: Mailbox, command: wire.Subscribe) -> None:
        try:
            self._hub.subscribe(mailbox, command)
        except ProtocolError as error:
            mailbox.reply(wire.error(error.code, str(error), command.topic))


def head(more: Mapping[str, str]) -> Response:
    """The beginning of a stream's answer, whose end is the connection's."""
    fields = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, Headers(fields | dict(more)))


def by_itself(accept: str | None) -> bool:
    """Whether who asks is an EventSource, or made like one."""
    return "text/event-stream" in (accept or "")


def come_back(refusal: Response) -> Response:
    """A refusal that passes, as a stream that says so and ends."""
    fields = json.loads(refusal.body)
    retry = f"retry: {refusal.headers['Retry-After']}000\n"
    response = head({})
    response.body = retry.encode() + wire.error(fields["code"], fields["message"]).event
    return response
