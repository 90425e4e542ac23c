"""Bridges that end, stand still, or whose event loop hangs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.chaos.faults.timing import last
from tests.chaos.witness import Broken

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.world import World


async def kill_bridge(world: World, random: Random) -> int:
    instance = random.choice(world.fleet.instances)
    await instance.end(signal.SIGKILL)
    await last(random, 0, 1)
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
        await last(random, 0.5, 7)
    finally:
        instance.signal(signal.SIGCONT)
    return 1


async def block_loop(world: World, random: Random) -> int:
    """Its threads go on, the watchdog among them; its loop does not turn (see autopsy/)."""
    with random.choice(world.fleet.instances).blocked():
        await last(random, 0.5, 9)
    return 1
