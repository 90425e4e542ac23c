"""One subscriber's WebSocket, as the hub's sink.

Messages are written to the transport as frames made once for everybody, past
`send()`: nothing waits, and the mailbox keeps what the peer does not take. The
library's keepalive does not drop a peer that stopped reading; `stalled_since` is for
the one who does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

if TYPE_CHECKING:
    from bridge.mailbox import Mailbox
    from bridge.metrics import Metrics
    from bridge.wire import Message

WRITE_LIMIT = 64 * 1024
"""Bytes buffered for a peer above which it is not writable."""

GRACE = 5.0
"""Seconds a stalled peer has to take the close frame."""


class Connection(ServerConnection):
    """A `Sink`. `metrics` is set on a subclass made per gateway."""

    metrics: Metrics

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mailbox: Mailbox | None = None
        self.stalled_since: float | None = None

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
