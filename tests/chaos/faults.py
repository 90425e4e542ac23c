"""What goes wrong. Each fault is injected, lasts, and is over when its function returns.

A function returns how many things it hit; what hits nothing is not counted. `slow` faults
take turns, since two of them would undo each other; the others come in quick succession
beside them. After a `blind` one only `reconcile` finds what was missed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from tests.chaos.schema import PARTS
from tests.chaos.witness import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.chaos.schema import Table
    from tests.chaos.world import World


class Fault(NamedTuple):
    title: str
    inject: Callable[[World, Random], Awaitable[int]]
    weight: float
    slow: bool = False
    blind: bool = False


_LISTENS = "(query LIKE 'LISTEN%%' OR query LIKE 'SET tcp%%')"
_KILL = f"""
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'rowcast%%' AND {_LISTENS} = %s
    ORDER BY state = 'active' DESC, random() LIMIT %s) s
"""

_BURN = "BEGIN; SELECT pg_current_xact_id(); ROLLBACK;"


async def _last(random: Random, least: float, most: float) -> None:
    await asyncio.sleep(random.uniform(least, most))


# Quick ones.


async def listeners(world: World, random: Random) -> int:
    async with world.session() as session:
        killed = await session.execute(_KILL, (True, random.randint(1, 3)))
        return killed.rowcount


async def readers(world: World, random: Random) -> int:
    async with world.session() as session:
        return (await session.execute(_KILL, (False, random.randint(1, 6)))).rowcount


async def cut_link(world: World, random: Random) -> int:
    link = random.choice(world.fleet.instances).link
    hit = link.connections
    link.cut()
    return hit


async def cut_clients(world: World, _random: Random) -> int:
    hit = world.fleet.balancer.connections
    world.fleet.balancer.cut()
    return hit


async def lock_briefly(world: World, random: Random) -> int:
    return await _lock(world, random, 0.05, 0.6)


# Bridges that end or stand still.


async def kill_bridge(world: World, random: Random) -> int:
    instance = random.choice(world.fleet.instances)
    await instance.end(signal.SIGKILL)
    await _last(random, 0, 1)
    await instance.start()
    return 1


async def restart_bridge(world: World, random: Random) -> int:
    instance = random.choice(world.fleet.instances)
    if status := await instance.end(signal.SIGTERM):
        raise Broken(f"{instance.name} ended with {status} at SIGTERM: {instance.said()[-2000:]}")
    await instance.start()
    return 1


async def stop_bridge(world: World, random: Random) -> int:
    instance = random.choice(world.fleet.instances)
    instance.signal(signal.SIGSTOP)
    try:
        await _last(random, 0.5, 7)
    finally:
        instance.signal(signal.SIGCONT)
    return 1


# Links on which nothing passes and nothing fails.


async def freeze_link(world: World, random: Random) -> int:
    link = random.choice(world.fleet.instances).link
    link.freeze()
    try:
        await _last(random, 0.5, 12)
    finally:
        link.thaw()
    if random.random() < 0.5:
        link.cut()
    return 1


async def strand_link(world: World, random: Random) -> int:
    """What is open hears and says nothing any more, for ever; new connections pass."""
    link = random.choice(world.fleet.instances).link
    hit = link.connections
    link.strand()
    return hit


async def freeze_clients(world: World, random: Random) -> int:
    world.fleet.balancer.freeze()
    try:
        await _last(random, 0.5, 4)
    finally:
        world.fleet.balancer.thaw()
    return 1


# The database.


async def crash(world: World, random: Random) -> int:
    """SIGKILL a backend: the server starts again, and gives out the burnt numbers once more."""
    with world.outage.declared():
        async with world.session() as session:
            await session.execute(_BURN * random.choice([1, 300, 3000]))
            async with world.session() as other:
                os.kill(session.info.backend_pid, signal.SIGKILL)
                with suppress(psycopg.Error):  # for a moment the server has not noticed
                    await other.execute("SELECT pg_sleep(60)")
        await world.execute("SELECT 1")
    return 1


async def restart_database(world: World, random: Random) -> int:
    with world.outage.declared():
        await world.off_loop(world.postgres.restart, random.choice(["fast", "immediate"]))
    return 1


async def lose_database(world: World, random: Random) -> int:
    with world.outage.declared():
        await world.off_loop(world.postgres.kill)
        await _last(random, 0, 3)
        await world.off_loop(world.postgres.restart)
    return 1


async def long_transaction(world: World, random: Random) -> int:
    table = random.choice(world.schema.tables)
    async with world.session() as session:
        await session.execute("BEGIN")
        await session.execute(
            f"UPDATE {table.name} SET counter = counter + 1, note = 'long'"
            f" WHERE ctid IN (SELECT ctid FROM {table.name} LIMIT 3 FOR UPDATE SKIP LOCKED)"
        )
        await _last(random, 0.5, 5)
        await session.execute(random.choice(["COMMIT", "ROLLBACK"]))
    return 1


async def lock(world: World, random: Random) -> int:
    return await _lock(world, random, 0.5, 7)


async def _lock(world: World, random: Random, least: float, most: float) -> int:
    table = random.choice(world.schema.tables)
    async with world.session() as session, session.transaction():
        await session.execute(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
        await _last(random, least, most)
    return 1


async def exhaust(world: World, random: Random) -> int:
    """Take every connection that is left, then the listeners' own."""
    async with world.session() as session, AsyncExitStack() as hoard:
        with world.outage.declared():
            taken = 0
            while await _another(world, hoard):
                taken += 1
            await session.execute(_KILL, (True, 3))
            await _another(world, hoard)
            await _last(random, 0.5, 4)
            await hoard.aclose()
        return taken


async def _another(world: World, hoard: AsyncExitStack) -> bool:
    try:
        await hoard.enter_async_context(world.session())
    except psycopg.OperationalError:
        return False
    return True


# What no trigger sees.


async def disable_triggers(world: World, random: Random) -> int:
    table = random.choice(world.schema.tables)
    await world.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
    await _last(random, 0, 2)
    await world.migrate()
    return 1


async def detach(world: World, random: Random) -> int:
    table, part = _partitioned(world), random.choice(PARTS)
    await world.execute(f"ALTER TABLE {table.name} DETACH PARTITION {table.name}_{part}")
    await _last(random, 0, 2)
    attach = f"ATTACH PARTITION {table.name}_{part} FOR VALUES IN ({part})"
    await world.execute(f"ALTER TABLE {table.name} {attach}")
    return 1


async def truncate_partition(world: World, random: Random) -> int:
    await world.execute(f"TRUNCATE {_partitioned(world).name}_{random.choice(PARTS)}")
    return 1


async def bypass_triggers(world: World, random: Random) -> int:
    table = random.choice(world.schema.tables)
    async with world.session() as session:
        await session.execute("SET session_replication_role = replica")
        await session.execute(
            f"UPDATE {table.name} SET counter = counter + 1, note = 'unseen'"
            f" WHERE ctid IN (SELECT ctid FROM {table.name} LIMIT 20 FOR UPDATE SKIP LOCKED)"
        )
    return 1


def _partitioned(world: World) -> Table:
    return next(table for table in world.schema.tables if table.partitioned)


FAULTS = {
    "F1": Fault("listener's backend killed", listeners, 40),
    "F2": Fault("reading backends killed", readers, 25),
    "F3": Fault("bridge SIGKILLed and started again", kill_bridge, 3, slow=True),
    "F4": Fault("bridge SIGSTOPped for 0.5-7 s", stop_bridge, 2, slow=True),
    "F6": Fault("backend SIGKILLed: crash restart, burnt xids", crash, 3, slow=True),
    "F7": Fault("server restarted", restart_database, 2, slow=True),
    "F7b": Fault("server killed, down for 0-3 s", lose_database, 1, slow=True),
    "F9": Fault("link to the database frozen for 0.5-12 s", freeze_link, 2, slow=True),
    "F9c": Fault("open links to the database stranded for ever", strand_link, 1, slow=True),
    "F9b": Fault("link to the database cut", cut_link, 10),
    "F9d": Fault("all clients' links frozen for 0.5-4 s", freeze_clients, 1, slow=True),
    "F14": Fault("triggers disabled, then migrated", disable_triggers, 4, slow=True, blind=True),
    "F16": Fault("partition detached and attached", detach, 4, slow=True, blind=True),
    "F16b": Fault("partition truncated", truncate_partition, 3, blind=True),
    "F17": Fault("written with triggers bypassed", bypass_triggers, 5, blind=True),
    "F20": Fault("transaction open for 0.5-5 s", long_transaction, 2, slow=True),
    "F24": Fault("ACCESS EXCLUSIVE lock for 0.5-7 s", lock, 2, slow=True),
    "F24b": Fault("ACCESS EXCLUSIVE lock for 0.05-0.6 s", lock_briefly, 10),
    "F25": Fault("connections exhausted", exhaust, 1, slow=True),
    "F27": Fault("all clients dropped at once", cut_clients, 4),
    "F28": Fault("bridge restarted by SIGTERM", restart_bridge, 2, slow=True),
}
