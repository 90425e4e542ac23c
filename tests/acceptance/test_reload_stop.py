"""A bridge is told to stop while it begins to serve another config, at any moment of that."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from websockets.asyncio import client

from tests.support import PATIENCE, connect
from tests.support.bridges import configure, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

TABLES = """
CREATE TABLE plain (id int PRIMARY KEY, n int);
CREATE TABLE kept (id int PRIMARY KEY, n int);
CREATE TABLE logged (id bigserial PRIMARY KEY, n int);
INSERT INTO plain SELECT n, 0 FROM generate_series(1, 20) n;
INSERT INTO kept SELECT n, 0 FROM generate_series(1, 20) n;
"""
CONFIG = """
  plain: {{debounce: {debounce}ms, max_wait: 50ms}}
  kept: {{durable: true, debounce: {debounce}ms, max_wait: 50ms}}
  logged: {{mode: log}}
"""
WRITES = (
    "UPDATE plain SET n = n + 1 WHERE id = %s",
    "UPDATE kept SET n = n + 1 WHERE id = %s",
    "INSERT INTO logged (n) VALUES (%s)",
)
ROUNDS = 12


@asynccontextmanager
async def writing(database: str) -> AsyncIterator[None]:
    over = threading.Event()

    def write() -> None:
        with connect(database) as connection:
            while not over.is_set():
                for write in WRITES:
                    connection.execute(write, (random.randint(1, 20),))

    task = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        yield
    finally:
        over.set()
        await task


async def test_a_bridge_stops_wherever_its_reload_is(
    database: str, admin: psycopg.Connection
) -> None:
    """Reads, waits for connections and probes end where they are, and none of them goes on."""
    admin.execute(TABLES)
    configs = [configure(database, CONFIG.format(debounce=n)) for n in (10, 20)]
    chance = random.Random(1)
    async with writing(database), asyncio.timeout(PATIENCE):
        for n in range(ROUNDS):
            async with AsyncExitStack() as stack:
                bridge = await stack.enter_async_context(running(configs[0], migrated=not n))
                for topic in ("plain", "kept", "logged"):
                    await stack.enter_async_context(ignoring(bridge.url, topic))
                for other in reversed(configs):
                    bridge.bridge.reload(lambda config=other: config)
                    await asyncio.sleep(chance.random() * 0.05)
                bridge.bridge.stop()


@asynccontextmanager
async def ignoring(url: str, topic: str) -> AsyncIterator[None]:
    """Somebody who follows, to the end of the bridge."""
    async with client.connect(url, max_queue=None, compression=None) as connection:
        await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
        yield
