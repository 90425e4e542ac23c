"""What no trigger sees, and migrations that are held up or killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.faults.timing import last
from tests.chaos.schema import PARTS
from tests.chaos.witness import Broken

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.schema import Table
    from tests.chaos.world import World

ROOT = Path(__file__).parents[3]

_OURS = """
SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger
WHERE tgrelid = %s::regclass AND tgname LIKE 'rowcast%%' AND NOT tgisinternal
"""

# A process that is killed when it has told so many of its steps.
_KILLED = """
import os, signal, sys
from pathlib import Path
from bridge import config, migrate
left = int(sys.argv[1])
def progress(_line):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
migrate.apply(config.load(Path("config.yaml")), progress=progress)
"""


async def disable_triggers(world: World, random: Random) -> int:
    table = random.choice(world.schema.tables)
    await world.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
    await last(random, 0, 2)
    await world.migrate()
    return 1


async def migrate_against_writer(world: World, random: Random) -> int:
    """Triggers are to be made on a table that a transaction has written to and holds."""
    table = random.choice(world.schema.tables)
    await _drop_triggers(world, table)
    async with world.session() as session:
        await session.execute("BEGIN")
        await session.execute(f"UPDATE {table.name} SET note = note WHERE false")
        async with asyncio.TaskGroup() as tasks:
            migration = tasks.create_task(world.migrate())
            await last(random, 0.5, 4)
            if migration.done():
                raise Broken(f"triggers were made on {table.name} while it was written to")
            await session.execute("COMMIT")
    return 1


async def kill_migration(world: World, random: Random) -> int:
    """After any of its steps; the next one makes the rest."""
    for table in random.sample(world.schema.tables, random.randint(1, 2)):
        await _drop_triggers(world, table)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _KILLED, str(random.randint(1, 3))),
        cwd=world.directory,
        env={**os.environ, "DATABASE_URL": world.url, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
    )
    await process.communicate()
    await world.migrate()
    return int(process.returncode == -signal.SIGKILL)


async def _drop_triggers(world: World, table: Table) -> None:
    for (statement,) in await world.execute(_OURS, table.name):
        await world.execute(statement)


async def detach(world: World, random: Random) -> int:
    table, part = _partitioned(world), random.choice(PARTS)
    await world.execute(f"ALTER TABLE {table.name} DETACH PARTITION {table.name}_{part}")
    await last(random, 0, 2)
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
