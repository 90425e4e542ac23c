"""websockets' own `broadcast()`: what is POSTed to /pub goes to every socket.

The library answers no POST, so the first bytes of a connection decide whose it is.
"""

from __future__ import annotations

import asyncio
import os

from websockets.asyncio.server import ServerConnection, broadcast, serve

sockets: set[ServerConnection] = set()


class Connection(ServerConnection):
    """A WebSocket, or somebody who publishes."""

    _publishes = False
    _rest = b""

    def data_received(self, data: bytes) -> None:
        if self._publishes or (self.request is None and data.startswith(b"POST")):
            self._publishes = True
            self._publish(data)
        else:
            super().data_received(data)

    def _publish(self, data: bytes) -> None:
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            if len(rest) < length:
                return
            broadcast(sockets, rest[:length].decode())
            self._rest = rest[length:]
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def hold(connection: ServerConnection) -> None:
    sockets.add(connection)
    await connection.wait_closed()
    sockets.discard(connection)


async def main() -> None:
    port = int(os.environ["PORT"])
    async with serve(
        hold,
        "127.0.0.1",
        port,
        create_connection=Connection,
        compression=None,
        open_timeout=None,
        backlog=4096,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
