"""Subscribers that vanish without a word are noticed by their silence, and only they."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

from bridge.gateways.pulse import ROUND
from tests.support.bridges import configure, running

if TYPE_CHECKING:
    import psycopg

    from tests.support.bridges import Running

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING, CLOSED = b"\x89\x00", (1011).to_bytes(2) + b"no answer to a ping"


async def test_who_answers_no_ping_is_ended_and_who_does_is_not(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY)")
    async with (
        running(configure(database, "  items: {columns: all}\n")) as bridge,
        connect(bridge.url) as answering,
    ):
        url = urlsplit(bridge.http)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(UPGRADE.encode())
        await reader.readuntil(b"welcome")
        a_round(bridge)
        await reader.readuntil(PING)
        await (await answering.ping())
        a_round(bridge)
        await reader.readuntil(CLOSED)
        writer.close()
        await (await answering.ping())


def a_round(bridge: Running) -> None:
    """What the bridge does in twenty seconds."""
    for _ in range(ROUND):
        bridge.bridge.gateway.tend(0.0, 10.0)
