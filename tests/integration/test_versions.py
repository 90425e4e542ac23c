"""The version of a read, against every other read: it never falls, and equal ones are alike.

End to end a wrong version hides behind the next write; compared pairwise it cannot. All
snapshots of a primary are ordered, so sorted by version the rows must only ever go forward.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from bridge import catalog
from bridge.loader import Loader
from bridge.pool import bump_epoch, open_pool
from tests.support import connect
from tests.support.bridges import configure
from tests.support.capture import config, entry

if TYPE_CHECKING:
    from bridge.demo.postgres import Postgres
    from bridge.tables import Table

ROWS, READERS, WRITERS, SECONDS = 10, 4, 8, 5.0
KEYS = [(str(n),) for n in range(1, ROWS + 1)]

SCHEMA = f"""
CREATE SCHEMA rowcast;
CREATE TABLE rowcast.epoch (epoch bigint NOT NULL);
INSERT INTO rowcast.epoch VALUES (1);
CREATE TABLE cells (id int PRIMARY KEY, n bigint NOT NULL);
INSERT INTO cells SELECT id, 0 FROM generate_series(1, {ROWS}) id;
"""


class Read(NamedTuple):
    """`counters` are the rows' `n`, by id."""

    version: str
    counters: tuple[int, ...]


def made(url: str) -> Table:
    with connect(url) as connection:
        connection.execute(SCHEMA)
        return catalog.resolved(connection, config(entry("cells")))["cells"]


def reading(url: str, size: int) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(
        url, min_size=size, max_size=size, open=False, kwargs={"autocommit": True}
    )


async def read(loader: Loader, table: Table) -> Read:
    states, _ = await loader.load(table, KEYS)
    assert len({state.version for state in states}) == 1
    rows = sorted((json.loads(state.row) for state in states), key=lambda row: row["id"])
    return Read(states[0].version, tuple(row["n"] for row in rows))


class Undone(Exception):  # noqa: N818
    pass


def write(url: str, seed: int, stop: threading.Event) -> None:
    """Transactions of different lengths, with savepoints and rollbacks."""
    random = Random(seed)
    with connect(url) as connection:
        while not stop.is_set():
            with suppress(Undone, psycopg.errors.DeadlockDetected), connection.transaction():
                for key in sorted(random.sample(range(1, ROWS + 1), random.randint(1, 3))):
                    _raise(connection, key, random)
                if random.random() < 0.1:
                    raise Undone


def _raise(connection: psycopg.Connection, key: int, random: Random) -> None:
    with suppress(Undone), connection.transaction():
        connection.execute("UPDATE cells SET n = n + 1 WHERE id = %s", (key,))
        if random.random() < 0.1:
            connection.execute("SELECT pg_sleep(0.002)")
        if random.random() < 0.2:
            raise Undone


def contradictions(reads: list[Read]) -> list[tuple[Read, Read]]:
    """Neighbours by version of which the later does not show all that the earlier shows."""
    ordered = sorted(reads)
    return [
        (earlier, later)
        for earlier, later in pairwise(ordered)
        if (earlier.version == later.version and earlier != later)
        or any(a > b for a, b in zip(earlier.counters, later.counters, strict=True))
    ]


async def test_no_inversion_and_no_tie(database: str) -> None:
    table, stop = made(database), threading.Event()
    writers = [
        asyncio.create_task(asyncio.to_thread(write, database, seed, stop))
        for seed in range(WRITERS)
    ]
    reads: list[Read] = []
    try:
        async with reading(database, READERS) as pool, asyncio.TaskGroup() as readers:
            loader = Loader(pool, "rowcast")
            for _ in range(READERS):
                readers.create_task(_observe(loader, table, reads))
    finally:
        stop.set()
        await asyncio.gather(*writers)
    assert contradictions(reads) == []
    assert len({one.counters for one in reads}) > 50  # else nothing was compared


async def _observe(loader: Loader, table: Table, reads: list[Read]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while True:
                reads.append(await read(loader, table))


@pytest.mark.parametrize("burnt", [100, 3000])
async def test_it_grows_over_a_crash_that_gives_numbers_out_again(
    postgres: Postgres, burnt: int
) -> None:
    """Numbers of transactions that wrote nothing are in no log, and are issued once more."""
    url = postgres.url()
    table = made(url)
    async with reading(url, 1) as pool:
        loader = Loader(pool, "rowcast")
        with connect(url) as connection:
            connection.execute("CHECKPOINT")
            connection.execute("BEGIN; SELECT pg_current_xact_id(); ROLLBACK;" * burnt)
            before = await read(loader, table)
            _crash(url, connection)
        await _restarted(url)
        with connect(url) as connection:
            connection.execute("UPDATE cells SET n = n + 1")
        same_epoch = await _once_more(loader, table)
        assert same_epoch.version < before.version  # which is why there is an epoch
        await bump_epoch(pool, "rowcast")
        after = await read(loader, table)
    assert after.version > before.version
    assert after.counters > before.counters


async def test_it_grows_over_a_crash_that_no_listener_has_noticed(postgres: Postgres) -> None:
    """A read may be made before a listener's, frozen where it was, is given up and renewed."""
    url = postgres.url()
    table = made(url)
    async with open_pool(configure(url, "  cells:\n")) as pool:
        loader = Loader(pool, "rowcast")
        with connect(url) as connection:
            connection.execute("CHECKPOINT")
            connection.execute("BEGIN; SELECT pg_current_xact_id(); ROLLBACK;" * 1000)
            before = await read(loader, table)
            _crash(url, connection)
        await _restarted(url)
        after = await _once_more(loader, table)
    assert after.version > before.version


def _crash(url: str, victim: psycopg.Connection) -> None:
    """Returns when the server has noticed."""
    with connect(url) as other, suppress(psycopg.OperationalError):
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        other.execute("SELECT pg_sleep(60)")


async def _restarted(url: str) -> None:
    while True:
        with suppress(psycopg.OperationalError), connect(url):
            return
        await asyncio.sleep(0.02)


async def _once_more(loader: Loader, table: Table) -> Read:
    """The pool hands out a connection that the crash has ended before it makes another."""
    while True:
        with suppress(psycopg.OperationalError):
            return await read(loader, table)
