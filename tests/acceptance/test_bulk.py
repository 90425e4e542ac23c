"""One statement over 100,000 rows: a handful of notifications, and little work for the bridge.

The bridge is a process of its own, so that its memory can be read. What it has read and
sent is counted by its metrics.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import connect, http
from tests.support.capture import Ear
from tests.support.commands import Rowcast
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.commands import Serving

ROWS = 100_000
MEMORY = 32 * 2**20
"""Bytes that a bridge may grow by: some hundred notifications are nothing to keep."""

CONFIG = """
database: ${DATABASE_URL}
debounce: 20ms
max_wait: 100ms
reconcile: 0
tables:
  items: {topics: [items, "items/{id}", "groups/{grp}/items"]}
"""

ONE = "SELECT * FROM items WHERE id = %s"
FILL = "INSERT INTO items SELECT n, n % 7, 'new' FROM generate_series({}, {}) n"

STATEMENTS = [
    "UPDATE items SET note = 'changed'",
    "UPDATE items SET grp = grp + 1",
    FILL.format(ROWS + 1, 2 * ROWS),
    f"UPDATE items SET id = id + {ROWS} WHERE id > {ROWS}",
    "DELETE FROM items",
    FILL.format(1, ROWS),
    "TRUNCATE items",
]


@pytest.fixture
def table(admin: psycopg.Connection) -> psycopg.Connection:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, grp int, note text)")
    return admin


@asynccontextmanager
async def serving(directory: Path, database: str) -> AsyncIterator[Serving]:
    (directory / "config.yaml").write_text(CONFIG)
    rowcast = Rowcast(directory, database)
    await rowcast.migrate()
    async with rowcast.serving() as serving:
        yield serving


def memory(serving: Serving) -> int:
    """Bytes of the process that are in memory."""
    status = Path(f"/proc/{serving.process.pid}/status")
    if not status.exists():
        pytest.skip("this system has no /proc to read a process's memory from")
    kilobytes = re.search(r"^VmRSS:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    assert kilobytes is not None
    return int(kilobytes[1]) * 1024


async def counted(serving: Serving) -> dict[str, float]:
    """The metrics by name, without the prefix."""
    text = (await http.get(serving.address, "/metrics")).body.decode()
    found = re.findall(r"^rowcast_(\w+?)(?:_total)? ([-+.\w]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_a_statement_over_a_hundred_thousand_rows(
    table: psycopg.Connection, database: str, tmp_path: Path
) -> None:
    table.execute(FILL.format(1, ROWS))
    numbers = (1, ROWS + 1, 2 * ROWS + 1)
    async with serving(tmp_path, database) as served:
        url = served.address.replace("http", "ws", 1) + "/ws"
        with connect(database) as listening:
            ear = Ear(listening, {})
            async with following(url, *(f"items/{n}" for n in numbers)) as replica:
                rested = memory(served)
                for statement in STATEMENTS:
                    ear.payloads()
                    before = await counted(served)
                    await asyncio.to_thread(table.execute, statement)
                    await replica.equals({f"items/{n}": rows(table, ONE, n) for n in numbers})
                    work = spent(before, await counted(served))
                    heard = sum('"t":' in payload for payload in ear.payloads())
                    assert 1 <= heard <= 500, statement
                    assert work["reloads"] + work["snapshots"] <= 2, statement
                    assert work["messages"] <= 2 * len(numbers), statement
                    assert memory(served) - rested < MEMORY, statement


async def test_many_statements_in_one_transaction_are_one_read(
    table: psycopg.Connection, database: str, tmp_path: Path
) -> None:
    """Equal markers of one transaction arrive once, however many statements left one."""
    table.execute(FILL.format(1, 2_000))
    async with serving(tmp_path, database) as served:
        url = served.address.replace("http", "ws", 1) + "/ws"
        async with following(url, "items/1") as replica:
            before = await counted(served)
            with table.transaction():
                for note in range(5):
                    table.execute("UPDATE items SET note = %s", (str(note),))
            await replica.equals({"items/1": rows(table, ONE, 1)})
            work = spent(before, await counted(served))
    assert (work["gaps"], work["snapshots"], work["reloads"]) == (1, 1, 0)


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before.get(name, 0) for name in after}
