"""The one port: which request goes where, who may connect, and how it all ends.

Only GET, HEAD and OPTIONS are understood here, which is all that is needed; the
`websockets` library reads the request either way, and upgrades the ones for `/ws`. A
connection is for one request.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import MultipleValuesError
from websockets.exceptions import ConnectionClosed

from bridge import __version__, wire
from bridge.config.values import is_loopback
from bridge.errors import BridgeError, ProtocolError
from bridge.gateways import sse, state
from bridge.gateways.connection import WRITE_LIMIT, Connection
from bridge.gateways.http import Pages, no_content, refusal, text
from bridge.gateways.origins import PREFLIGHT, allowed, readable, sharing
from bridge.wire import CloseCode, ErrorCode

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from websockets.http11 import Request, Response

    from bridge.config import Config
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics

log = logging.getLogger(__name__)


CLOSING = 5.0
"""Seconds a peer has to take a close frame and to answer it."""


STATE = "/state/"


def pace(count: int, drain: float) -> float:
    """Seconds between two of `count` farewells: 200 a second, or faster to be done in half of
    `drain`; the other half is for the last ones to leave."""
    return min(0.005, drain / 2 / max(1, count))


class Gateway:
    """Subscribers on the outside, the hub on the inside."""

    def __init__(
        self, config: Config, hub: Hub, health: Health, metrics: Metrics, instance: str
    ) -> None:
        self._config = config
        self._hub = hub
        self._metrics = metrics
        self._instance = instance
        self._local = is_loopback(config.server.host)
        self._pages = Pages(
            hub, health, metrics, instance=instance, inspector=config.server.inspector
        )
        self._streams = sse.Streams(hub, metrics, config.limits.subscriptions)
        self._server: Server | None = None
        self._stopping = False

    async def start(self) -> tuple[str, int]:
        """Listen; returns the address, with the port the system gave where 0 was asked for."""
        settings = self._config.server
        try:
            self._server = await serve(
                self._connected,
                settings.host,
                settings.port,
                create_connection=type("Connection", (Connection,), {"metrics": self._metrics}),
                process_request=self._requested,
                compression=None,
                max_size=self._config.limits.message,
                open_timeout=None,
                close_timeout=CLOSING,
                write_limit=(WRITE_LIMIT, WRITE_LIMIT // 4),
                server_header=None,
            )
        except OSError as error:
            raise BridgeError(
                f"cannot listen on {settings.host}:{settings.port}: {error}"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Take nobody new, tell everybody to go elsewhere, and wait until they went.

        They are told one after the other, so that they do not arrive elsewhere all at once.
        """
        self._stopping = True
        if self._server is None:
            return
        self._server.close(close_connections=False)
        mailboxes = list(self._hub.mailboxes)
        for mailbox in mailboxes:
            mailbox.sink.end(CloseCode.RESTARTING, "restarting")
            await asyncio.sleep(pace(len(mailboxes), self._config.server.drain))
        await self._server.wait_closed()

    def drop_stalled(self, now: float, limit: float) -> None:
        """End the connections that took nothing for `limit` seconds."""
        for mailbox in list(self._hub.mailboxes):
            since = mailbox.sink.stalled_since
            if since is not None and now - since > limit:
                self._metrics.stalled.inc()
                mailbox.sink.end(CloseCode.STALLED, "you stopped reading")

    async def _requested(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, Connection)
        if connection.protocol.eof_sent:
            # It sent more than a request, and the library would fail to answer it.
            connection.transport.abort()
            await connection.wait_closed()
            return text(HTTPStatus.BAD_REQUEST, "")
        try:
            response = await self._answer(connection, request)
        except MultipleValuesError:
            response = text(HTTPStatus.BAD_REQUEST, "A header occurs more than once.\n")
        if response is not None and request.method == "HEAD":
            response.body = b""
        return response

    async def _answer(self, connection: Connection, request: Request) -> Response | None:
        target = _target(request)
        if target.path == "/ws":
            return self._upgrade(request)
        if target.path == "/sse" or target.path.startswith(STATE):
            return await self._data(connection, request, target)
        return self._pages.answer(request.method, target.path)

    def _upgrade(self, request: Request) -> Response | None:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not allowed(origin, host, self._config.server.allowed_origins, local=self._local):
            return _forbidden(origin)
        if self._stopping or not self._hub.routes:
            # Which topics there are is known once the database has been reached.
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready yet; try again.\n")
        return None

    async def _data(
        self, connection: Connection, request: Request, target: SplitResult
    ) -> Response | None:
        """Rows for whoever may read them: a stream, or a state."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not readable(origin, host, self._config.server.allowed_origins, local=self._local):
            return _forbidden(origin or host)
        if request.method == "OPTIONS":
            return no_content(PREFLIGHT | sharing(origin))
        if request.method not in ("GET", "HEAD"):
            return no_content({"Allow": PREFLIGHT["Allow"]}, HTTPStatus.METHOD_NOT_ALLOWED)
        if target.path == "/sse":
            response = await self._stream(connection, request, target.query)
        else:
            response = await self._state(connection, request, target.path.removeprefix(STATE))
        for name, value in sharing(origin).items():
            response.headers[name] = value
        return response

    def _busy(self) -> tuple[ProtocolError, HTTPStatus] | None:
        """Why nobody is taken now; it passes."""
        if self._stopping or not self._hub.routes:
            error = ProtocolError(ErrorCode.UNAVAILABLE, "not ready; try again")
            return error, HTTPStatus.SERVICE_UNAVAILABLE
        if self._hub.subscribers >= self._config.limits.connections:
            error = ProtocolError(ErrorCode.UNAVAILABLE, "too many connections; try again")
            return error, HTTPStatus.TOO_MANY_REQUESTS
        return None

    async def _stream(self, connection: Connection, request: Request, query: str) -> Response:
        headers = request.headers
        if (busy := self._busy()) is not None:
            response = refusal(*busy)
            return sse.come_back(response) if sse.by_itself(headers.get("Accept")) else response
        try:
            asked = sse.asked(query, headers.get("Last-Event-ID"))
            self._streams.check(asked.topics)
        except ProtocolError as error:
            unknown = error.code == ErrorCode.UNKNOWN_TOPIC
            return refusal(error, HTTPStatus.BAD_REQUEST if unknown else None)
        if request.method == "GET":
            head = sse.head(sharing(headers.get("Origin")))
            await self._streams.serve(connection, asked, head, self._welcome())
        return sse.head({})

    async def _state(self, connection: Connection, request: Request, topic: str) -> Response:
        if (busy := self._busy()) is not None:
            return refusal(*busy)
        known = request.headers.get("If-None-Match")
        return await state.answer(connection, self._hub, topic, known, self._welcome())

    def _welcome(self) -> wire.Message:
        return wire.welcome(self._instance, __version__)

    async def _connected(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        if self._hub.subscribers >= self._config.limits.connections:
            await connection.close(CloseCode.OVER_LIMIT, "too many connections")
            return
        connection.mailbox = self._hub.join(connection, self._welcome())
        try:
            async for frame in connection:
                self._command(connection.mailbox, frame)
                # Who asks without reading the answers is not listened to meanwhile.
                await connection.drain()
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            self._hub.leave(connection.mailbox)

    def _command(self, mailbox: Mailbox, frame: str | bytes) -> None:
        about: dict[str, object] = {}
        try:
            command = wire.parse(frame)
            about = {name: getattr(command, name, None) for name in ("topic", "id")}
            if isinstance(command, wire.Subscribe):
                self._hub.subscribe(mailbox, command)
            elif isinstance(command, wire.Unsubscribe):
                self._hub.unsubscribe(mailbox, command.topic)
            else:
                mailbox.reply(wire.pong())
        except ProtocolError as error:
            mailbox.reply(wire.error(error.code, str(error), **about))  # type: ignore[arg-type]


def _target(request: Request) -> SplitResult:
    """Path and query, neither decoded. What cannot be told apart is a path that does not exist."""
    try:
        return urlsplit(request.path)
    except ValueError:
        return urlsplit("")


def _forbidden(origin: str | None) -> Response:
    log.warning("origin refused", extra={"origin": origin})
    return text(HTTPStatus.FORBIDDEN, "This origin is not in server.allowed_origins.\n")
