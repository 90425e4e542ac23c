"""Writers of a log table, each kind in the way that makes some algorithm lose rows.

Every transaction may be rolled back, and may hold a savepoint that is rolled back to. The
oracle is the table itself: it is only ever added to.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Connection = psycopg.AsyncConnection[Any]

LEDGER = """
CREATE SEQUENCE numbers CACHE {cache};
CREATE SEQUENCE blocks;
CREATE TABLE ledger (
    id bigint PRIMARY KEY DEFAULT nextval('numbers'), writer int NOT NULL, body text
);
"""
CONFIG = "\n  ledger: {mode: log}\n"

_SLOW_TRIGGER = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(random() * 0.005); RETURN NEW; END';
CREATE TRIGGER dawdle BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION dawdle();
"""


class Writer:
    """One session; `write` makes a statement's worth of rows inside a transaction."""

    def __init__(self, connection: Connection, number: int, seed: str) -> None:
        self.connection = connection
        self.number = number
        self.random = random.Random(f"{seed} {number}")
        self._block: list[int] = []

    async def insert(self, rows: int = 1) -> None:
        await self.connection.execute(
            "INSERT INTO ledger (writer) SELECT %s FROM generate_series(1, %s)", (self.number, rows)
        )

    async def plain(self) -> None:
        await self.insert(self.random.choice([1, 1, 1, 3]))

    async def early(self) -> None:
        """The number is taken long before the row is written."""
        found = await self.connection.execute("SELECT nextval('numbers')")
        (number,) = await found.fetchone() or (0,)
        await asyncio.sleep(self.random.random() * 0.01)
        await self._chosen(number)

    async def chosen(self) -> None:
        """Blocks of 50 numbers, which the application gives out in any order, or never."""
        if not self._block:
            found = await self.connection.execute("SELECT nextval('blocks')")
            (block,) = await found.fetchone() or (0,)
            self._block = self.random.sample(range(block * 50, block * 50 + 50), 50)
        await self._chosen(self._block.pop())

    async def _chosen(self, number: int) -> None:
        await self.connection.execute(
            "INSERT INTO ledger (id, writer) VALUES (%s, %s)", (number, self.number)
        )

    async def slow(self) -> None:
        await self.plain()
        if self.random.random() < 0.05:
            await asyncio.sleep(0.8)

    async def copy(self) -> None:
        cursor = self.connection.cursor()
        async with cursor.copy("COPY ledger (writer) FROM STDIN") as copy:
            for _ in range(self.random.randint(1, 20)):
                await copy.write_row((self.number,))

    async def transact(self, write: Callable[[Writer], Awaitable[None]]) -> None:
        """10 of 100 are rolled back; 20 have a savepoint, and half of those go back to it."""
        await self.connection.execute("BEGIN")
        await write(self)
        if self.random.random() < 0.2:
            await self.connection.execute("SAVEPOINT s")
            await write(self)
            if self.random.random() < 0.5:
                await self.connection.execute("ROLLBACK TO s")
        await self.connection.execute("ROLLBACK" if self.random.random() < 0.1 else "COMMIT")


@dataclass(frozen=True)
class Workload:
    """`setup` runs after the table was made."""

    write: Callable[[Writer], Awaitable[None]]
    writers: int = 24
    cache: int = 1
    setup: str = ""

    async def prepare(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(LEDGER.format(cache=self.cache) + self.setup)

    async def run(self, url: str, seconds: float, seed: str) -> None:
        """Write for so long."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.writers):
                tasks.create_task(self._write(url, number, loop.time() + seconds, seed))

    async def _write(self, url: str, number: int, end: float, seed: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            writer = Writer(connection, number, seed)
            while asyncio.get_running_loop().time() < end:
                await writer.transact(self.write)


WORKLOADS = {
    "plain": Workload(Writer.plain),
    "before trigger": Workload(Writer.plain, setup=_SLOW_TRIGGER),
    "early": Workload(Writer.early),
    "chosen": Workload(Writer.chosen),
    "cache": Workload(Writer.plain, cache=32),
    "slow": Workload(Writer.slow),
    "early, 3 writers": Workload(Writer.early, writers=3),
    "before trigger, 3 writers": Workload(Writer.plain, writers=3, setup=_SLOW_TRIGGER),
    "copy": Workload(Writer.copy),
}
