"""Sessions that are killed, and such as hold locks, transactions, or all connections there are."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from tests.chaos.faults.timing import last
from tests.chaos.schema import ENTRIES

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.world import World

_LISTENS = "(query LIKE 'LISTEN%%' OR query LIKE 'SET tcp%%')"
_KILL = f"""
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'rowcast%%' AND {_LISTENS} = %s
    ORDER BY state = 'active' DESC, random() LIMIT %s) s
"""

_FULL = 0.012
_JUNK = """
SELECT pg_notify('nobody listens', n || repeat(' ', 7900)) FROM generate_series(1, 1000) n
"""


async def listeners(world: World, random: Random) -> int:
    async with world.session() as session:
        killed = await session.execute(_KILL, (True, random.randint(1, 3)))
        return killed.rowcount


async def readers(world: World, random: Random) -> int:
    async with world.session() as session:
        return (await session.execute(_KILL, (False, random.randint(1, 6)))).rowcount


async def long_transaction(world: World, random: Random) -> int:
    table = random.choice(world.schema.tables)
    async with world.session() as session:
        await session.execute("BEGIN")
        await session.execute(
            f"UPDATE {table.name} SET counter = counter + 1, note = 'long'"
            f" WHERE ctid IN (SELECT ctid FROM {table.name} LIMIT 3 FOR UPDATE SKIP LOCKED)"
        )
        await session.execute(f"INSERT INTO {ENTRIES} (grp, note) VALUES (0, 'long')")
        await last(random, 0.5, 5)
        await session.execute(random.choice(["COMMIT", "ROLLBACK"]))
    return 1


async def lock(world: World, random: Random) -> int:
    return await _lock(world, random, 0.5, 7)


async def lock_briefly(world: World, random: Random) -> int:
    return await _lock(world, random, 0.05, 0.6)


async def _lock(world: World, random: Random, least: float, most: float) -> int:
    table = random.choice(world.schema.tables)
    async with world.session() as session, session.transaction():
        await session.execute(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
        await last(random, least, most)
    return 1


async def fill_queue(world: World, random: Random) -> int:
    """One who listens and never reads: a hundredth of the NOTIFY queue is in use."""
    async with world.session() as session, world.session() as stalled:
        await stalled.execute("LISTEN stalled")
        await stalled.execute("BEGIN; SELECT 1")
        while await _usage(session) < _FULL:
            await session.execute(_JUNK)
        await last(random, 0, 3)
        assert stalled.info.transaction_status is TransactionStatus.INTRANS
    return 1


async def _usage(session: psycopg.AsyncConnection[tuple[float]]) -> float:
    found = await session.execute("SELECT pg_notification_queue_usage()")
    return (await found.fetchone() or (0.0,))[0]


async def exhaust(world: World, random: Random) -> int:
    """Take every connection that is left, then the listeners' own."""
    async with world.session() as session, AsyncExitStack() as hoard:
        with world.outage.declared():
            taken = 0
            while await _another(world, hoard):
                taken += 1
            await session.execute(_KILL, (True, 3))
            await _another(world, hoard)
            await last(random, 0.5, 4)
            await hoard.aclose()
        return taken


async def _another(world: World, hoard: AsyncExitStack) -> bool:
    try:
        await hoard.enter_async_context(world.session())
    except psycopg.OperationalError:
        return False
    return True
