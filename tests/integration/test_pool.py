"""The sessions that reads run in."""

from __future__ import annotations

from bridge.pool import open_pool
from tests.support.bridges import configure


async def test_a_read_is_not_compiled(database: str) -> None:
    """Where PostgreSQL has a compiler, it would cost a small read hundreds of milliseconds."""
    config = configure(database, "  items:\n")
    async with open_pool(config) as pool, pool.connection() as connection:
        cursor = await connection.execute("SELECT current_setting('jit')")
        assert await cursor.fetchone() == ("off",)
