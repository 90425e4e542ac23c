"""Whether a WebSocket takes anything is known at every moment, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from bridge import wire
from bridge.config import LimitsConfig
from bridge.gateways.connection import WRITE_LIMIT, Connection
from bridge.metrics import Metrics
from bridge.wire import Bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import ServerConnection

LARGE = Bundle([wire.error(wire.ErrorCode.UNAVAILABLE, "x" * 8 * WRITE_LIMIT)])


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Connection, ClientConnection]]:
    """Both ends of an open WebSocket; the bridge's is held open until the peer is gone."""
    opened: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def hold(connection: ServerConnection) -> None:
        opened.set_result(connection)
        await connection.wait_closed()

    fields = {"metrics": Metrics(), "limits": LimitsConfig(), "unanswered": set()}
    ours = type("Connection", (Connection,), fields)
    limits = (WRITE_LIMIT, WRITE_LIMIT // 4)
    async with (
        serve(hold, "127.0.0.1", 0, create_connection=ours, write_limit=limits) as server,
        connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", max_size=None) as peer,
    ):
        connection = await opened
        assert isinstance(connection, Connection)
        yield connection, peer


async def test_one_that_is_open_takes_what_is_written() -> None:
    async with pair() as (connection, peer):
        assert connection.writable
        connection.write(Bundle([wire.pong(), wire.pong()]))
        assert [await peer.recv(), await peer.recv()] == [wire.pong().text] * 2
        counted = connection.metrics.messages.value, connection.metrics.sent.value
        assert counted == (2, 2 * len(wire.pong().frame))


async def test_one_that_does_not_read_takes_nothing_until_it_reads() -> None:
    async with pair() as (connection, peer):
        peer.transport.pause_reading()
        while connection.writable:
            connection.write(LARGE)
            await asyncio.sleep(0)
        assert connection.stalled_since is not None
        peer.transport.resume_reading()
        while not connection.writable:
            await peer.recv()
        assert connection.stalled_since is None


async def test_after_our_close_frame_nothing_is_written() -> None:
    async with pair() as (connection, peer):
        connection.end(1012, "restarting")
        assert not connection.writable
        await peer.wait_closed()
        assert peer.close_code == 1012


async def test_one_that_is_ended_while_it_reads_nothing_gets_nothing_when_it_reads_again() -> None:
    async with pair() as (connection, peer):
        peer.transport.pause_reading()
        while connection.writable:
            connection.write(LARGE)
            await asyncio.sleep(0)
        connection.end(4408, "you stopped reading")
        peer.transport.resume_reading()
        while not connection.transport.is_closing():
            assert not connection.writable
            await asyncio.sleep(0)
        await connection.wait_closed()
        assert not connection.writable


@pytest.mark.parametrize("reset", [False, True])
async def test_a_peer_that_leaves_is_not_written_to(reset: bool) -> None:
    """It says so, or resets the connection."""
    async with pair() as (connection, peer):
        if reset:
            line = peer.transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.transport.abort()
        else:
            peer.protocol.send_close(1000)
            peer.send_data()
        while connection.writable:
            await asyncio.sleep(0)
        assert not connection.transport.get_write_buffer_size()
        await connection.wait_closed()
        assert not connection.writable
