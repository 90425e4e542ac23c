"""The server crashes, restarts, is gone, gives way to its standby, or was ahead of its time."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from tests.chaos.faults.timing import last
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.world import World

_BURN = "BEGIN; SELECT pg_current_xact_id(); ROLLBACK;"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_AHEAD = "UPDATE rowcast.epoch SET epoch = epoch + 3600 * 1000"


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
        await last(random, 0, 3)
        await world.off_loop(world.postgres.restart)
    return 1


async def fail_over(world: World, random: Random) -> int:
    """The primary is killed, and its standby takes its place: commits that had not reached it
    never happened. Or it is shut down, and the standby has everything."""
    async with Proxy("127.0.0.1", world.postgres.port) as line:
        standby = await world.off_loop(world.cluster.standby, line.port)
        orderly = world.ahead or random.random() < 0.3
        if not orderly:
            line.freeze()
            await last(random, 0.05, 0.8)
        with world.outage.declared():
            if orderly:
                await world.off_loop(world.postgres.stop)
            else:
                await world.off_loop(world.postgres.kill)
            line.cut()
            await world.off_loop(world.cluster.replace, standby)
            world.moved()
            if not orderly:
                ((now,),) = await world.execute(_NOW)
                world.histories.begin(f"{now:016x}")
    return 1


async def turn_back_clock(world: World, _random: Random) -> int:
    """The server's clock was an hour ahead when the last epoch began, and is so no longer."""
    world.ahead = True
    await world.execute(_AHEAD)
    return 1
