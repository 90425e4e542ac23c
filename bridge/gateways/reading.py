"""Rows over plain HTTP, to whoever may read them: a stream, or a state."""

from __future__ import annotations

import logging
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from bridge.errors import ProtocolError
from bridge.gateways import sse, state
from bridge.gateways.access import no_token
from bridge.gateways.http import no_content, refusal, text
from bridge.gateways.origins import PREFLIGHT, readable, sharing
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.http11 import Request, Response

    from bridge.config import Config
    from bridge.gateways.access import Access
    from bridge.gateways.connection import Connection
    from bridge.gateways.http import Target
    from bridge.gateways.limits import Limits
    from bridge.hub import Hub
    from bridge.metrics import Metrics
    from bridge.wire import Message

log = logging.getLogger(__name__)

STREAM = "/sse"
STATE = "/state/"


class Reading:
    """Answers `/sse` and `/state/TOPIC`. `ready` raises ProtocolError while nobody is taken."""

    def __init__(
        self,
        config: Config,
        hub: Hub,
        access: Access,
        limits: Limits,
        metrics: Metrics,
        *,
        ready: Callable[[], None],
        welcome: Callable[[], Message],
        local: bool,
    ) -> None:
        self._origins = config.server.allowed_origins
        self._hub = hub
        self._access = access
        self._limits = limits
        self._ready = ready
        self._welcome = welcome
        self._local = local
        self._streams = sse.Streams(hub, access, metrics, config.limits.subscriptions)

    async def answer(self, connection: Connection, request: Request, target: Target) -> Response:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not readable(origin, host, self._origins, local=self._local):
            return forbidden(origin or host)
        if request.method == "OPTIONS":
            return no_content(PREFLIGHT | sharing(origin))
        if request.method not in ("GET", "HEAD"):
            return no_content({"Allow": PREFLIGHT["Allow"]}, HTTPStatus.METHOD_NOT_ALLOWED)
        response = await self._read(connection, request, target)
        for name, value in sharing(origin).items():
            response.headers[name] = value
        return response

    async def _read(self, connection: Connection, request: Request, target: Target) -> Response:
        try:
            self._ready()
            entry = connection.entry = await self._access.enter(request.headers, target.query)
            if not self._access.known(entry):
                raise entry.error or no_token()
            with self._limits.seat(entry.user):
                if target.path == STREAM:
                    return await self._stream(connection, request, target.query)
                return await self._state(connection, request, target.path.removeprefix(STATE))
        except ProtocolError as error:
            return refused(request, target, error)

    async def _stream(self, connection: Connection, request: Request, query: str) -> Response:
        grant, headers = connection.entry.grant, request.headers
        asked = sse.asked(query, headers.get("Last-Event-ID"))
        self._streams.check(asked.topics, grant)
        if request.method == "GET":
            head = sse.head(sharing(headers.get("Origin")))
            await self._streams.serve(connection, asked, head, self._welcome(), grant)
        return sse.head({})

    async def _state(self, connection: Connection, request: Request, topic: str) -> Response:
        known = request.headers.get("If-None-Match")
        permit = partial(self._access.check, connection.entry.grant)
        return await state.answer(connection, self._hub, topic, known, self._welcome(), permit)


def refused(request: Request, target: Target, error: ProtocolError) -> Response:
    """Why there is no answer; to an EventSource what passes is said so that it comes back."""
    if target.path != STREAM:
        return refusal(error)
    if error.code == ErrorCode.UNAVAILABLE and sse.by_itself(request.headers.get("Accept")):
        return sse.come_back(refusal(error))
    return refusal(error, HTTPStatus.BAD_REQUEST if error.code == ErrorCode.UNKNOWN_TOPIC else None)


def forbidden(origin: str | None) -> Response:
    reason = "not in server.allowed_origins"
    log.warning("origin refused", extra={"origin": origin, "reason": reason})
    return text(HTTPStatus.FORBIDDEN, f"The origin {origin} is {reason}.\n")
