"""Each key is written once, around the moment that somebody subscribes to it.

No later write hides that one was missed: a snapshot that was read before its reader was
registered, or a change that nobody was there for, stays wrong. Documents are slow to read
here, as those of many joins are, so that much happens while a snapshot is read.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

from tests.support.bridges import configure, running
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

KEYS, CLIENTS, GROUPS = 1600, 200, 4

CELLS = f"""
CREATE TABLE cells (id int PRIMARY KEY, grp int NOT NULL, note text NOT NULL);
INSERT INTO cells SELECT id, id % {GROUPS}, 'cold' FROM generate_series(1, {KEYS}) id;
CREATE FUNCTION slow(id int) RETURNS text STABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.001) WHERE id % 40 < {GROUPS};
    RETURN 'slow';
END $$;
CREATE VIEW documents AS SELECT *, slow(id) FROM cells;
"""
CONFIG = """
  cells:
    topics: ["cells/{id}", "groups/{grp}/cells"]
    document: documents
    debounce: 1ms
"""


def write(connection: psycopg.Connection, keys: list[int]) -> None:
    for key in keys:
        connection.execute("UPDATE cells SET note = 'written' WHERE id = %s", (key,))


async def test_none_is_missed(database: str, admin: psycopg.Connection) -> None:
    """One client comes with every few writes, and nobody waits for anybody."""
    await come_and_write(database, admin, groups=True)


async def test_none_is_missed_where_nobody_wants_most_of_them(
    database: str, admin: psycopg.Connection
) -> None:
    """Where no group is followed, a change of a key that nobody follows yet is not even kept."""
    await come_and_write(database, admin, groups=False)


async def come_and_write(database: str, admin: psycopg.Connection, *, groups: bool) -> None:
    admin.execute(CELLS)
    random = Random(1)
    keys = random.sample(range(1, KEYS + 1), KEYS)
    async with (
        running(configure(database, CONFIG, reconcile="0")) as bridge,
        AsyncExitStack() as stack,
    ):
        joining = []
        for n in range(CLIENTS):
            cold = keys[n::CLIENTS]
            topics = [f"cells/{random.choice(cold)}"]
            topics += [f"groups/{random.randrange(GROUPS)}/cells"] if groups else []
            one = stack.enter_async_context(following(bridge.url, *topics))
            joining.append(asyncio.create_task(one))
            await asyncio.to_thread(write, admin, cold)
        truth = rows(admin, "SELECT * FROM documents")
        for replica in await asyncio.gather(*joining):
            await replica.equals({topic: _rows_of(topic, truth) for topic in replica.topics})


def _rows_of(topic: str, truth: dict[str, dict]) -> dict[str, dict]:
    kind, value, *_ = topic.split("/")
    column = "grp" if kind == "groups" else "id"
    return {key: row for key, row in truth.items() if row[column] == int(value)}
