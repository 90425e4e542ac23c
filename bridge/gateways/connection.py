"""One TCP connection, and the hub's sink for the one that became a WebSocket.

Messages are written to the transport as frames made once for everybody, past
`send()`: nothing waits, and the mailbox keeps what the peer does not take. Pings do
not find a peer that stopped reading; `stalled_since` is for the one who does.

The library gives a connection a fixed time to open, and an event stream is to it a
connection that never did. So that time is kept here, and can be changed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from bridge.gateways.access import Entry
from bridge.gateways.http import too_large
from bridge.wire import CloseCode

if TYPE_CHECKING:
    from websockets.protocol import Event

    from bridge.config import LimitsConfig
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics
    from bridge.rates import Bucket
    from bridge.wire import Bundle

WRITE_LIMIT = 64 * 1024
"""Bytes buffered for a peer above which it is not writable."""

UNSENT = 64 * 1024
"""Bytes that the system may hold for a peer without having sent them. By itself it takes
megabytes from us, which a slow reader would get minutes later, however old they are by then."""

_UNSENT_OPTION = getattr(socket, "TCP_NOTSENT_LOWAT", None)

NO_HEADERS = Headers()
"""What a request has after it was answered."""

PING = b"\x89\x00"
"""One without a payload (RFC 6455, 5.5.2)."""

GRACE = 5.0
"""Seconds a stalled peer has to take the close frame."""

UNOPENED = 100
"""Sockets at least that may be open beside those that count as connections."""

VANISHED = 30.0
"""Seconds that what was sent to a stream may stay unacknowledged; it has no pings to miss."""


class Connection(ServerConnection):
    """A `Sink`. The first three are set on a subclass made per gateway.

    `unanswered` are the connections whose request has not come, or whose answer not gone.
    """

    metrics: Metrics
    limits: LimitsConfig
    unanswered: set[Connection]
    pace: Bucket | None = None
    entry = Entry(None, None)
    """What came of the token in the request; a WebSocket learns it when it is open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mailbox: Mailbox | None = None
        self.stalled_since: float | None = None
        self.writable = False
        self.streaming = False
        self.heard = True
        self._received = 0
        self._refused = False
        self._opening: asyncio.Timeout | None = None

    @property
    def peer(self) -> str:
        """Who this is, for the operator: address, and user if the token in the request says."""
        host, port = self.remote_address[:2]
        return f"{self.entry.user} {host}:{port}".strip()

    def write(self, bundle: Bundle) -> None:
        frames, metrics = bundle.frames, self.metrics
        self.transport.write(frames)
        metrics.messages.value += len(bundle.messages)
        metrics.sent.value += len(frames)

    def ask(self) -> None:
        """Whether it is there; `heard` tells."""
        self.transport.write(PING)

    def end(self, code: int, reason: str) -> None:
        self.stalled_since = None
        if self.state is OPEN:
            self.protocol.send_close(code, reason)
            self.send_data()
            self.loop.call_later(GRACE, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since = self.loop.time()
        self.writable = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = None
        self._look()
        if self.mailbox is not None:
            self.mailbox.flush()

    def send_data(self) -> None:
        # What changes the protocol's state makes bytes to send, so this comes next.
        self._look()
        super().send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._look()

    def _look(self) -> None:
        self.writable = self.stalled_since is None and self.protocol.state is OPEN

    # Until it is open, or answered.

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        self.unanswered.add(self)
        try:
            async with asyncio.timeout(self.limits.handshake) as self._opening:
                await super().handshake(*args, **kwargs)
        finally:
            self._opening = self.response = None
            if self.request is not None:
                # They are kilobytes, and nobody looks at them any more.
                self.request.headers = NO_HEADERS
            self.unanswered.discard(self)

    def allow(self, seconds: float | None) -> None:
        """Give the answer so long from now; None takes as long as it takes."""
        assert self._opening is not None
        self._opening.reschedule(None if seconds is None else self.loop.time() + seconds)

    def stream(self) -> None:
        """From here on the connection only writes, and is no longer the library's to answer."""
        self.streaming = True
        self.allow(None)
        # Where the system has no such option, its own patience with a dead link is the limit.
        if (option := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:
            line = self.transport.get_extra_info("socket")
            line.setsockopt(socket.IPPROTO_TCP, option, round(VANISHED * 1000))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if _UNSENT_OPTION is not None:
            line = transport.get_extra_info("socket")
            line.setsockopt(socket.IPPROTO_TCP, _UNSENT_OPTION, UNSENT)
        # Those beyond `connections` have yet to open, or to be told that they are too many.
        spare = max(self.limits.connections, UNOPENED)
        if len(self.server.handler_tasks) > self.limits.connections + spare:
            self.metrics.over_limit.inc()
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.streaming:
            return
        self.heard = True
        super().data_received(data)
        self._received += len(data)
        if self._received > self.limits.headers and self.request is None and not self._refused:
            self._refuse()

    def _refuse(self) -> None:
        """The request is too long before it is complete."""
        self._refused = True
        self.metrics.over_limit.inc()
        if not self.protocol.eof_sent:
            self.protocol.send_response(too_large(self.limits.headers))
            self.send_data()

    def process_event(self, event: Event) -> None:
        """Pings are answered by the library; but as commands are, not without end."""
        ping = isinstance(event, Frame) and event.opcode is Opcode.PING
        if ping and self.pace is not None and not self.pace.take(self.loop.time()):
            self.metrics.over_limit.inc()
            self.end(CloseCode.OVER_LIMIT, "too many pings; slow down")
        super().process_event(event)
