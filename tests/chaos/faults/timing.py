"""How long what is done lasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


async def last(random: Random, least: float, most: float) -> None:
    """So many seconds, at random."""
    await asyncio.sleep(random.uniform(least, most))
