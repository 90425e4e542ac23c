"""The oracle: when writes stop, every client holds what SELECT returns, whatever happened."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support import connect
from tests.support.bridges import configure, running
from tests.support.replica import following, rows
from tests.support.workload import CONFIG, TABLE, TOPICS, transaction

if TYPE_CHECKING:
    import psycopg

    from tests.support.replica import Rows

KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'rowcast%%'
      AND (%s OR query LIKE 'SET tcp%%')
"""


def truth(connection: psycopg.Connection) -> dict[str, Rows]:
    expected = {"cells": rows(connection, "SELECT * FROM cells")}
    for topic in TOPICS[1:]:
        if topic.startswith("cells/"):
            where, value = "id", int(topic.removeprefix("cells/"))
        else:
            where, value = "grp", int(topic.split("/")[1])
        expected[topic] = rows(connection, f"SELECT * FROM cells WHERE {where} = %s", value)
    return expected


def write(url: str, seed: int, steps: int, stop: threading.Event) -> None:
    with connect(url) as connection:
        random = Random(seed)
        for _ in range(steps):
            if stop.is_set():
                return
            transaction(connection, random)


@pytest.mark.parametrize("everything", [False, True], ids=["listeners", "every-connection"])
async def test_every_client_equals_the_table_while_backends_are_killed(
    database: str, admin: psycopg.Connection, everything: bool
) -> None:
    admin.execute(TABLE)
    stop = threading.Event()
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(running(configure(database, CONFIG))) for _ in range(2)
        ]
        replicas = [
            await stack.enter_async_context(following(bridge.url, *TOPICS))
            for bridge in bridges
            for _ in range(3)
        ]
        writers = [
            asyncio.create_task(asyncio.to_thread(write, database, seed, 600, stop))
            for seed in range(4)
        ]
        try:
            for _ in range(20):
                recovered = replicas[0].recovered
                await asyncio.to_thread(admin.execute, KILL, (everything,))
                async with asyncio.timeout(30):
                    await replicas[0].until(lambda n=recovered: replicas[0].recovered > n)
            await asyncio.gather(*writers)
        finally:
            stop.set()
        expected = truth(admin)
        for replica in replicas:
            await replica.equals(expected)
            assert replica.regressions == []
