"""A TCP proxy that breaks connections on command, as networks do.

cut      every connection is reset, at once
freeze   nothing passes any more, and nobody is told: the half-open link that only
         a heartbeat finds. New connections are accepted and hear nothing. What is
         sent waits, as TCP would have it retransmitted, and passes after `thaw`
strand   the same for ever, for the connections that are open now; new ones pass. So it
         is when a firewall has forgotten them
slow     seconds that pass between two pieces of 64 KiB: a link that has little room
refuse   new connections are refused until `accept`; open ones stay
aim      new connections go somewhere else
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes what it hears to `host`:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._socket = _bind(0)
        self.port = int(self._socket.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._pairs: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self.slow = 0.0

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self._socket.close()
        tasks = list(self._pairs)
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    def url_for(self, url: str) -> str:
        """The same URL, through the proxy."""
        parts = urlsplit(url)
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._pairs)

    def aim(self, host: str, port: int) -> None:
        """New connections go there."""
        self._upstream = host, port

    def cut(self) -> None:
        for task, pair in self._pairs.items():
            _reset(pair)
            task.cancel()

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def strand(self) -> None:
        """The event that the open connections wait for from now on is nobody's to set."""
        self._thawed.clear()
        self._thawed = asyncio.Event()
        self._thawed.set()

    async def refuse(self) -> None:
        if self._server:
            self._server.close()  # closes the socket, too
            self._server, self._socket = None, _bind(self.port)

    async def accept(self) -> None:
        if not self._server:
            self._server = await asyncio.start_server(self._connected, sock=self._socket)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = [writer]
        task = asyncio.create_task(self._carry(reader, pair))
        self._pairs[task] = pair
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        for end in self._pairs.pop(task):
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, pair: list[asyncio.StreamWriter]) -> None:
        thawed = self._thawed
        try:
            await thawed.wait()
            far_reader, far_writer = await self._dial()
            pair.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, thawed))
                group.create_task(self._answer(far_reader, pair[0], thawed))
        except* OSError:
            _reset(pair)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._upstream)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event
    ) -> None:
        """What comes back from upstream."""
        await self._pump(reader, writer, thawed)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event
    ) -> None:
        """Pass on what comes, and at last that nothing more comes."""
        while data := await reader.read(_CHUNK):
            await thawed.wait()
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(self.slow)
        await thawed.wait()
        writer.write_eof()


def _bind(port: int) -> socket.socket:
    """A bound socket that does not listen holds the port, and the kernel refuses for it."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound


def _reset(writers: Iterable[asyncio.StreamWriter]) -> None:
    for writer in writers:
        if connection := writer.get_extra_info("socket"):
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
