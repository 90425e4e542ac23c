"""A topic's snapshot, once, as plain JSON.

Who asks is a subscriber for as long as it takes: its read is the one that others wait
for too, and it counts against the same limits.
"""

from __future__ import annotations

import asyncio
import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge import wire
from bridge.errors import ProtocolError
from bridge.gateways.http import refusal, respond
from bridge.message import Page, encode
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from websockets.http11 import Response

    from bridge.gateways.connection import Connection
    from bridge.hub import Hub
    from bridge.viewer import Viewer
    from bridge.wire import Bundle, Message

READING = 10.0
"""Seconds to wait for the snapshot."""

TAKING = 60.0
"""Seconds that the peer has to take it."""


class Collector:
    """A `Sink` that takes one snapshot of one topic, and nothing after it."""

    writable = True
    stalled_since: float | None = None

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self.found: asyncio.Future[list[Page] | ProtocolError] = (
            asyncio.get_running_loop().create_future()
        )

    def write(self, bundle: Bundle) -> None:
        for message in bundle:
            if not self.found.done():
                self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, Page):
            if message.first:
                self._pages.clear()
            self._pages.append(message)
            if message.last:
                self.found.set_result(self._pages)
        elif message.kind == "status":
            self._refuse(ErrorCode.UNAVAILABLE, "the database is out of reach; try again")
        elif (error := wire.refused(message)) is not None:
            self._refuse(*error)

    def _refuse(self, code: str, message: str) -> None:
        self.found.set_result(ProtocolError(code, message))

    def end(self, code: int, reason: str) -> None:
        if not self.found.done():
            self._refuse(ErrorCode.UNAVAILABLE, f"{reason} ({code}); try again")


class State(NamedTuple):
    """A snapshot as a document. `tag` says its rows, whatever the moment they were read at."""

    body: bytes
    tag: str

    @classmethod
    def of(cls, topic: str, pages: Sequence[Page]) -> State:
        # Each instance reads rows in an order of its own; the document must not show it.
        rows = ",\n".join(sorted(row for page in pages for row in page.rows))
        tag = hashlib.sha256(f"{topic}\n{rows}".encode()).hexdigest()[:32]
        last = pages[-1]
        cursor = f',"cursor":{encode(last.cursor)}' if last.cursor else ""
        about = f'"version":"{last.version}"{cursor}'
        body = f'{{"topic":{encode(topic)},"rows":[\n{rows}\n],{about}}}\n'
        # Weak: the version changes with every read, and the rows may be equal all the same.
        return cls(body.encode(), f'W/"{tag}"')

    def known(self, if_none_match: str) -> bool:
        """Whether the header names this state."""
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self.tag.removeprefix("W/") in tags or tags == ["*"]

    def response(self, if_none_match: str | None) -> Response:
        known = if_none_match is not None and self.known(if_none_match)
        if known:
            response = respond(HTTPStatus.NOT_MODIFIED, "", b"", caching="private, no-cache")
        else:
            response = respond(
                HTTPStatus.OK, "application/json", self.body, caching="private, no-cache"
            )
        response.headers["ETag"] = self.tag
        return response


def _refuse_log(hub: Hub, topic: str) -> None:
    route, _ = hub.routes.resolve(topic)
    if route.table.log:
        raise ProtocolError(ErrorCode.UNKNOWN_TOPIC, "a log has events and no state; follow it")


async def answer(
    connection: Connection,
    hub: Hub,
    topic: str,
    if_none_match: str | None,
    greeting: Message,
    permit: Callable[[str], Viewer],
) -> Response:
    """Ask the hub as a subscriber would, and leave."""
    connection.allow(READING + TAKING)
    sink = Collector()
    mailbox = hub.join(sink, greeting, permit)
    try:
        permit(topic)
        _refuse_log(hub, topic)
        hub.subscribe(mailbox, wire.Subscribe(topic))
        ends: list[asyncio.Future[Any]] = [sink.found, connection.connection_lost_waiter]
        await asyncio.wait(ends, timeout=READING, return_when=asyncio.FIRST_COMPLETED)
        sink.end(503, "the snapshot could not be read in time")
    except ProtocolError as error:
        return refusal(error)
    finally:
        hub.leave(mailbox)
    found = sink.found.result()
    if isinstance(found, ProtocolError):
        return refusal(found)
    return State.of(topic, found).response(if_none_match)
