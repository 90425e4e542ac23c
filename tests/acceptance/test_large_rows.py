"""F31: a row of 20 MB harms nobody: it is refused, not sent, and its old state does not stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.support.bridges import configure, running
from tests.support.replica import Replica, following

if TYPE_CHECKING:
    import psycopg

PAPERS = """
CREATE TABLE papers (id int PRIMARY KEY, body text NOT NULL);
ALTER TABLE papers ALTER body SET STORAGE EXTERNAL; -- to compress 20 MB takes seconds
INSERT INTO papers VALUES (1, 'a'), (2, 'b');
"""

CONFIG = """
  papers:
    topics: [papers, "papers/{id}"]
    columns: all
"""

TOPICS = ["papers", "papers/1", "papers/2"]
MANY_MEGABYTES = 20_000_000


def state(**bodies: str) -> dict[str, Any]:
    """What each topic shows while papers 1 and 2 have these bodies, or are not to be seen."""
    found = {n: paper(n, bodies[f"p{n}"]) for n in (1, 2) if f"p{n}" in bodies}
    single = {f"papers/{n}": found.get(n, {}) for n in (1, 2)}
    return {"papers": {key: row for one in found.values() for key, row in one.items()}} | single


def paper(number: int, body: str) -> dict[str, Any]:
    return {f'{{"id": {number}}}': {"id": number, "body": body}}


def refused(replica: Replica) -> list[str]:
    return [m["topic"] for m in replica.messages if m["type"] == "error"]


async def test_a_row_of_many_megabytes(database: str, admin: psycopg.Connection) -> None:
    admin.execute(PAPERS)
    enlarge = "UPDATE papers SET body = repeat('x', %s) WHERE id = 1"
    async with (
        running(configure(database, CONFIG)) as bridge,
        following(bridge.url, *TOPICS) as before,
    ):
        await before.equals(state(p1="a", p2="b"))
        await asyncio.to_thread(admin.execute, enlarge, [MANY_MEGABYTES])
        admin.execute("UPDATE papers SET body = 'c' WHERE id = 2")
        await before.equals(state(p2="c"))
        await before.until(lambda: "papers/1" in refused(before))
        assert set(refused(before)) == {"papers/1"}
        async with following(bridge.url, *TOPICS) as after:
            await after.equals(state(p2="c"))
            await after.until(lambda: len(refused(after)) == 2)
            assert set(refused(after)) == {"papers", "papers/1"}
            admin.execute(enlarge, [3])
            await after.equals(state(p1="xxx", p2="c"))
        await before.equals(state(p1="xxx", p2="c"))
    assert max(len(str(m)) for m in before.messages + after.messages) < 1000
