"""A bridge that was held up, by its own loop or by the system, catches up and hurts nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from bridge import watchdog
from tests.support import PATIENCE
from tests.support.apart import apart
from tests.support.bridges import configure, running
from tests.support.events import streaming
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

    from tests.support.commands import Rowcast

TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO orders SELECT n, 0 FROM generate_series(1, 20) n;
"""
CONFIG = "tables:\n  orders:\n"
WRITES = """
UPDATE orders SET n = n + 1; DELETE FROM orders WHERE id <= 5; INSERT INTO orders VALUES (99, 1)
"""
LISTENING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name LIKE 'rowcast%' AND query LIKE 'SET tcp%'
"""


async def until(admin: psycopg.Connection, query: str, value: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while admin.execute(query).fetchone() != (value,):
            await asyncio.sleep(0.05)


async def test_after_its_loop_hung_everybody_converges(
    database: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL", 0.2)
    admin.execute(TABLES)
    with apart() as there:
        async with (
            there.entered(running(configure(database, "  orders:\n"))) as bridge,
            following(bridge.url, "orders") as replica,
        ):
            await until(admin, LISTENING, 1)
            with there.held_up():
                await until(admin, LISTENING, 0)
                admin.execute(WRITES)
            await replica.equals({"orders": rows(admin, "SELECT * FROM orders")})
            assert replica.regressions == []


@pytest.mark.parametrize("dropped", [False, True], ids=["briefly", "until-the-server-drops-it"])
async def test_a_stopped_process_pins_no_queue_and_converges(
    rowcast: Rowcast, admin: psycopg.Connection, dropped: bool
) -> None:
    """No thread runs in it: what ends its session is `tcp_user_timeout`, at the server."""
    async with (
        rowcast.serving() as serving,
        following(f"{serving.address}/ws".replace("http", "ws", 1), "orders") as replica,
        streaming(serving.address, "orders/20") as stream,
    ):
        await stream.until("snapshot")
        await until(admin, LISTENING, 1)
        os.kill(serving.process.pid, signal.SIGSTOP)
        try:
            admin.execute(WRITES)
            if dropped:
                junk = "SELECT pg_notify('rowcast', repeat('x', 7000) || n)"
                admin.execute(f"{junk} FROM generate_series(1, 2000) n")
                await until(admin, LISTENING, 0)
                await until(admin, "SELECT pg_notification_queue_usage()", 0.0)
        finally:
            os.kill(serving.process.pid, signal.SIGCONT)
        await replica.equals({"orders": rows(admin, "SELECT * FROM orders")})
        event = await stream.until("snapshot" if dropped else "change")
        assert '"n":1' in event.data.replace(" ", "")
        assert await serving.stop() == 0
