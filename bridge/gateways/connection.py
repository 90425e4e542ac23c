"""One TCP connection, and the hub's sink for the one that became a WebSocket.

Messages are written to the transport as frames made once for everybody, past
`send()`: nothing waits, and the mailbox keeps what the peer does not take. The
library's keepalive does not drop a peer that stopped reading; `stalled_since` is for
the one who does.

The library gives a connection a fixed time to open, and an event stream is to it a
connection that never did. So that time is kept here, and can be changed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from bridge.gateways.access import Entry

if TYPE_CHECKING:
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics
    from bridge.wire import Message

WRITE_LIMIT = 64 * 1024
"""Bytes buffered for a peer above which it is not writable."""

GRACE = 5.0
"""Seconds a stalled peer has to take the close frame."""

OPENING = 10.0
"""Seconds from connecting until the answer has been taken, or the WebSocket is open."""

VANISHED = 30.0
"""Seconds that what was sent to a stream may stay unacknowledged; it has no pings to miss."""


class Connection(ServerConnection):
    """A `Sink`. `metrics` is set on a subclass made per gateway."""

    metrics: Metrics
    entry = Entry(None, None)
    """What came of the token in the request; a WebSocket learns it when it is open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mailbox: Mailbox | None = None
        self.stalled_since: float | None = None
        self.streaming = False
        self._opening: asyncio.Timeout | None = None

    @property
    def writable(self) -> bool:
        return self.stalled_since is None and self.state is State.OPEN

    def write(self, messages: list[Message]) -> None:
        if self.state is not State.OPEN:
            return
        frames = messages[0].frame if len(messages) == 1 else b"".join([m.frame for m in messages])
        self.transport.write(frames)
        self.metrics.messages.inc(len(messages))
        self.metrics.sent.inc(len(frames))

    def end(self, code: int, reason: str) -> None:
        self.stalled_since = None
        if self.state is State.OPEN:
            self.protocol.send_close(code, reason)
            self.send_data()
            self.loop.call_later(GRACE, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = None
        if self.mailbox is not None:
            self.mailbox.flush()

    # Until it is open, or answered.

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(OPENING) as self._opening:
            await super().handshake(*args, **kwargs)

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

    def data_received(self, data: bytes) -> None:
        if not self.streaming:
            super().data_received(data)
