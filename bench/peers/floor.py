"""The floor of latency: LISTEN, one SELECT and one send, and nothing else.

    python -m bench.peers.floor URL CHANNEL TABLE PORT

No debounce, no coalescing, no second subscriber, no recovery: whoever does any of that cannot be
faster. The same two libraries as the bridge's.
"""

from __future__ import annotations

import asyncio
import sys

import psycopg
from psycopg import sql
from websockets.asyncio.server import ServerConnection, serve


async def main(url: str, channel: str, table: str, port: int) -> None:
    joined: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def hold(connection: ServerConnection) -> None:
        joined.set_result(connection)
        await connection.wait_closed()

    select = sql.SQL("SELECT to_jsonb(t)::text FROM {} t WHERE id = %s").format(
        sql.Identifier(table)
    )
    listener = await psycopg.AsyncConnection.connect(url, autocommit=True)
    reader = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    async with serve(hold, "127.0.0.1", port, compression=None, ping_interval=None):
        connection = await joined
        async for notification in listener.notifies():
            found = await reader.execute(select, (notification.payload,), prepare=True)
            row = await found.fetchone()
            assert row is not None
            await connection.send(row[0])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
