"""The floor: what is POSTed to /pub goes to every socket by one send() each, and nothing else.

What a Python program pays that frames a message once and knows nothing of its subscribers but
their sockets. It shakes hands without looking, and reads nothing from them.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

sockets: set[socket.socket] = set()


class Connection(asyncio.Protocol):
    """A subscriber, or somebody who publishes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line: socket.socket | None = None
        self._rest = b""

    def connection_lost(self, _: Exception | None) -> None:
        if self._line is not None:
            sockets.discard(self._line)

    def data_received(self, data: bytes) -> None:
        if self._line is None:
            self._rest += data
            while b"\r\n\r\n" in self._rest and self._request():
                pass

    def _request(self) -> bool:
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            self._transport.write(_ACCEPTED)
            self._line = self._transport.get_extra_info("socket")._sock
            sockets.add(self._line)
            self._rest = b""
            return False
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        if len(rest) < length:
            return False
        publish(rest[:length])
        self._rest = rest[length:]
        self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True


def publish(body: bytes) -> None:
    size = bytes([len(body)]) if len(body) < 126 else b"\x7e" + len(body).to_bytes(2)
    frame = b"\x81" + size + body
    for line in sockets:
        line.send(frame)


async def main() -> None:
    loop = asyncio.get_running_loop()
    port = int(os.environ["PORT"])
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
