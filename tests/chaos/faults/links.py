"""Links that are cut, on which nothing passes and nothing fails, or that lose notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.faults.timing import last

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.world import World


async def cut_link(world: World, random: Random) -> int:
    link = random.choice(world.fleet.instances).link
    hit = link.connections
    link.cut()
    return hit


async def cut_clients(world: World, _random: Random) -> int:
    hit = world.fleet.balancer.connections
    world.fleet.balancer.cut()
    return hit


async def freeze_link(world: World, random: Random) -> int:
    link = random.choice(world.fleet.instances).link
    link.freeze()
    try:
        await last(random, 0.5, 12)
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
        await last(random, 0.5, 4)
    finally:
        world.fleet.balancer.thaw()
    return 1


async def deafen_link(world: World, random: Random) -> int:
    """What is open gets no notification any more, for ever: only a probe tells."""
    link = random.choice(world.fleet.instances).link
    link.deafen()
    return link.connections


async def lose_notifications(world: World, random: Random) -> int:
    """All but probes, so that nothing tells of it."""
    link = random.choice(world.fleet.instances).link
    before = link.hit
    link.lose()
    try:
        await last(random, 0.2, 3)
    finally:
        link.deliver(random)
    return link.hit - before


async def jumble_notifications(world: World, random: Random) -> int:
    """Each five times, in any order, up to five seconds late."""
    link = random.choice(world.fleet.instances).link
    before = link.hit
    link.jumble(random, random.choice([0.05, 0.5, 5]))
    try:
        await last(random, 0.5, 6)
    finally:
        link.deliver(random)
    return link.hit - before
