"""The one port: which request goes where, who may connect, and how it all ends.

Only GET, HEAD and OPTIONS are understood here, which is all that is needed; the
`websockets` library reads the request either way, and upgrades the ones for `/ws`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bridge import __version__, wire
from bridge.config.values import is_loopback
from bridge.errors import BridgeError, ProtocolError
from bridge.gateways.connection import WRITE_LIMIT, Connection
from bridge.gateways.http import Pages, text
from bridge.gateways.origins import allowed
from bridge.wire import CloseCode

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from bridge.config import Config
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics

log = logging.getLogger(__name__)


CLOSING = 5.0
"""Seconds a peer has to take a close frame and to answer it."""


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
        self._server: Server | None = None

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
        """Take nobody new, tell everybody to go elsewhere, and wait until they went."""
        if self._server is not None:
            self._server.close(code=CloseCode.RESTARTING, reason="restarting")
            await self._server.wait_closed()

    def drop_stalled(self, now: float, limit: float) -> None:
        """End the connections that took nothing for `limit` seconds."""
        for mailbox in list(self._hub.mailboxes):
            since = mailbox.sink.stalled_since
            if since is not None and now - since > limit:
                self._metrics.stalled.inc()
                mailbox.sink.end(CloseCode.STALLED, "you stopped reading")

    async def _requested(self, _connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path != "/ws":
            return self._pages.answer(request.method, path)
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not allowed(origin, host, self._config.server.allowed_origins, local=self._local):
            log.warning("origin refused", extra={"origin": origin})
            return text(HTTPStatus.FORBIDDEN, "This origin is not in server.allowed_origins.\n")
        if not self._hub.routes:
            # Which topics there are is known once the database has been reached.
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready yet; try again.\n")
        return None

    async def _connected(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        if self._hub.subscribers >= self._config.limits.connections:
            await connection.close(CloseCode.OVER_LIMIT, "too many connections")
            return
        connection.mailbox = self._hub.join(connection, wire.welcome(self._instance, __version__))
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
