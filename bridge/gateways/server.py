"""The one port: which request goes where, who may connect, and how it all ends.

Only GET, HEAD and OPTIONS are understood here, which is all that is needed; the
`websockets` library reads the request either way, and upgrades the ones for `/ws`. A
connection is for one request.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import MultipleValuesError

from bridge import __version__, wire
from bridge.config.values import is_loopback
from bridge.errors import BridgeError, LimitError, ProtocolError
from bridge.gateways.access import Access, no_token, subprotocol
from bridge.gateways.connection import WRITE_LIMIT, Connection
from bridge.gateways.http import Pages, Target, exposition, refusal, text, too_large
from bridge.gateways.inspector import Inspector
from bridge.gateways.limits import Limits
from bridge.gateways.origins import allowed, readable
from bridge.gateways.pulse import Pulse
from bridge.gateways.reading import STATE, STREAM, Reading, forbidden, refused
from bridge.gateways.tls import Certificate
from bridge.gateways.websocket import Session, farewell
from bridge.presence import Presence
from bridge.wire import CloseCode, ErrorCode

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from bridge.config import Config
    from bridge.gateways.siblings import Siblings
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.metrics import Metrics

log = logging.getLogger(__name__)


CLOSING = 5.0
"""Seconds a peer has to take a close frame and to answer it."""


UNFINISHED = 1.0
"""Seconds in which a request must be complete and answered once the bridge stops."""


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
        self.presence = Presence(instance, hub, health, metrics)
        self._pages = Pages(hub, self.presence, metrics, inspector=config.server.inspector)
        self._access = Access(config, hub, metrics)
        self.inspector = Inspector(hub, health, self._access, instance)
        self._limits = Limits(config, metrics)
        self._reading = Reading(
            config,
            hub,
            self._access,
            self._limits,
            metrics,
            ready=self._ready,
            welcome=self._welcome,
            local=self._local,
        )
        tls = config.server.tls
        self._certificate = None if tls is None else Certificate(tls)
        self._server: Server | None = None
        self.siblings: Siblings | None = None
        self._stopping = False
        self._unanswered: set[Connection] = set()
        self._pulse = Pulse()

    async def start(self) -> tuple[str, int]:
        """Listen; returns the address, with the port the system gave where 0 was asked for."""
        settings, limits = self._config.server, self._config.limits
        fields = {"metrics": self._metrics, "limits": limits, "unanswered": self._unanswered}
        try:
            self._server = await serve(
                self._connected,
                settings.host,
                settings.port,
                create_connection=type("Connection", (Connection,), fields),
                process_request=self._requested,
                select_subprotocol=subprotocol,
                compression=None,
                max_size=limits.message,
                open_timeout=None,
                ping_interval=None,
                close_timeout=CLOSING,
                write_limit=(WRITE_LIMIT, WRITE_LIMIT // 4),
                server_header=None,
                reuse_port=settings.workers > 1 or None,
                **self._secured(),
            )
        except OSError as error:
            raise BridgeError(
                f"cannot listen on {settings.host}:{settings.port}: {error}"
            ) from error
        if self.siblings is not None:
            await self.siblings.start()
        host, port = self._server.sockets[0].getsockname()[:2]
        self.presence.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return host, port

    def _secured(self) -> dict[str, Any]:
        if self._certificate is None:
            return {}
        patience = self._config.limits.handshake
        return {"ssl": self._certificate.context, "ssl_handshake_timeout": patience}

    async def stop(self) -> None:
        """Take nobody new, tell everybody to go elsewhere, and wait until they went.

        They are told one after the other, so that they do not arrive elsewhere all at once.
        """
        self._stopping = True
        if self._server is None:
            return
        self._server.close(close_connections=False)
        if self.siblings is not None:
            self.siblings.stop()
        for connection in self._unanswered:
            if not connection.streaming:
                connection.allow(UNFINISHED)
        mailboxes = list(self._hub.mailboxes)
        for mailbox in mailboxes:
            mailbox.sink.end(CloseCode.RESTARTING, "restarting")
            await asyncio.sleep(pace(len(mailboxes), self._config.server.drain))
        await self._server.wait_closed()

    def tend(self, now: float, limit: float) -> None:
        """Each second: end who took nothing for `limit` seconds, or is not there any more."""
        if self._certificate is not None:
            self._certificate.refresh()
        for mailbox in list(self._hub.mailboxes):
            since = mailbox.sink.stalled_since
            if since is not None and now - since > limit:
                self._metrics.stalled.inc()
                mailbox.sink.end(CloseCode.STALLED, "you stopped reading")
        self._pulse.turn()

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
        if not self._limits.fits(request):
            return too_large(self._config.limits.headers)
        target = Target.of(request.path)
        try:
            if not self._pages.watched(target.path):
                self._limits.arrive(connection.remote_address[0], request, connection.loop.time())
        except LimitError as error:
            return refused(request, target, error)
        if target.path == STREAM or target.path.startswith(STATE):
            return await self._reading.answer(connection, request, target)
        if target.path == "/ws":
            return await self._upgrade(connection, request, target)
        return await self._page(request, target)

    async def _page(self, request: Request, target: Target) -> Response:
        entry = await self._access.enter(request.headers, target.query)
        ours = self._access.guarded or self._ours(request)
        asked = self.inspector.answers(target.path)
        if asked or self._pages.guarded(target.path):
            if not ours:
                return forbidden(request.headers.get("Origin") or request.headers.get("Host"))
            if not self._access.known(entry):
                return refusal(entry.error or no_token())
        if asked:
            return await self.inspector.answer(request, target, entry)
        if self.siblings is not None and self._pages.metrics(request.method, target.path):
            return exposition(await self.siblings.metrics())
        trusted = ours and self._access.inspects(entry)
        return self._pages.answer(request.method, target.path, trusted=trusted)

    def _ours(self, request: Request) -> bool:
        """Whether no foreign name was made to mean this machine for a page to ask us."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        return readable(origin, host, self._config.server.allowed_origins, local=self._local)

    async def _upgrade(
        self, connection: Connection, request: Request, target: Target
    ) -> Response | None:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not allowed(origin, host, self._config.server.allowed_origins, local=self._local):
            return forbidden(origin)
        if self._stopping or not self._hub.routes:
            # Which topics there are is known once the database has been reached.
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready yet; try again.\n")
        entry = connection.entry = await self._access.enter(request.headers, target.query)
        return refusal(entry.error) if entry.error and entry.passes else None

    def _ready(self) -> None:
        """Raises ProtocolError while nobody is taken."""
        if self._stopping or not self._hub.routes:
            raise ProtocolError(ErrorCode.UNAVAILABLE, "not ready; try again")
        self._limits.connect(self._hub.subscribers)

    def _welcome(self) -> wire.Message:
        return wire.welcome(self._instance, __version__)

    async def _connected(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        grant, error = connection.entry
        if error is not None:
            await connection.close(*farewell(error))
            return
        patience = self._config.limits.unauthenticated
        try:
            self._limits.connect(self._hub.subscribers)
            session = Session(connection, self._hub, self._access, self._limits, patience)
            group = self._pulse.join(connection)
            try:
                await session.run(grant, self._welcome())
            finally:
                self._pulse.leave(connection, group)
        except LimitError as error:
            await connection.close(CloseCode.OVER_LIMIT, str(error))
