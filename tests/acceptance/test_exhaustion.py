"""A server that has no connection left: the bridge says so, waits, and catches up."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg

from bridge.demo.postgres import Postgres
from tests.support import PATIENCE, connect
from tests.support.bridges import configure, running
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from bridge.demo.postgres import Binaries

OURS = "FROM pg_stat_activity WHERE application_name LIKE 'rowcast%'"


def take_all(url: str, admin: psycopg.Connection, hogs: ExitStack) -> None:
    """Until the bridge has none: what it loses is taken before it can have it back, or after."""
    while admin.execute(f"SELECT pg_terminate_backend(pid) {OURS}").fetchall():
        with suppress(psycopg.OperationalError):
            while True:
                hogs.enter_context(connect(url))


async def test_it_comes_back_when_there_is_room_again(binaries: Binaries) -> None:
    few = {"max_connections": "20", "superuser_reserved_connections": "0"}
    with Postgres.start(binaries=binaries, settings=few) as server, connect(server.url()) as admin:
        admin.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
        admin.execute("INSERT INTO orders VALUES (1, 0), (2, 0)")
        async with (
            running(configure(server.url(), "  orders:\n")) as bridge,
            following(bridge.url, "orders") as replica,
        ):
            health = bridge.bridge.health
            with ExitStack() as hogs:
                await asyncio.to_thread(take_all, server.url(), admin, hogs)
                async with asyncio.timeout(PATIENCE):
                    while "too many clients" not in health.reasons.get("listener", ""):
                        await asyncio.sleep(0.02)
                admin.execute("UPDATE orders SET n = 1; DELETE FROM orders WHERE id = 2")
            await replica.equals({"orders": rows(admin, "SELECT * FROM orders")})
            await health.wait()
            assert replica.regressions == []
