"""What was kept is taken, or said to be missing: whatever is pruned between two reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from bridge import storage
from bridge.changelog import LIMIT, Changelog
from bridge.feed import Feed
from bridge.pacing import Pacing
from bridge.retention import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.changes import Change, Gap, Mark

GAP = "gap"


class Fed:
    """A feed, and the keys that it passed on, with `GAP` where there may be others."""

    def __init__(self, pool: AsyncConnectionPool, database: str) -> None:
        self.passed: list[str] = []
        self.feed = Feed(
            Changelog(pool, "rowcast"),
            {"orders": (1, 0)},
            Pacing(database, "rowcast"),
            take=self._take,
            gap=self._gap,
            followed=lambda: True,
        )

    async def read(self) -> list[str]:
        await self.feed.read()
        passed, self.passed = self.passed, []
        return passed

    def _take(self, changes: list[Change], _: Mark) -> None:
        self.passed += [change.key[0] for change in changes]

    def _gap(self, _gap: Gap, _: Mark) -> None:
        self.passed.append(GAP)


@pytest.fixture
async def fed(connection: psycopg.Connection, database: str) -> AsyncIterator[Fed]:
    connection.execute("CREATE SCHEMA rowcast")
    connection.execute(storage.create("rowcast", "changes").encode())
    kwargs = {"autocommit": True}
    async with AsyncConnectionPool(database, kwargs=kwargs, min_size=1, open=False) as pool:
        fed = Fed(pool, database)
        await fed.feed.begun()
        yield fed


def keep(connection: psycopg.Connection, key: int) -> None:
    slot = storage.slot("rowcast", "changes").as_string(None)
    payload = f'{{"t":"orders","o":"u","k":[["{key}"]]}}'
    connection.execute(f"INSERT INTO rowcast.changes (slot, payload) SELECT {slot}, '{payload}'")


async def prune(database: str, turns: int = storage.SLOTS) -> None:
    """All that was kept goes, after so many."""
    retention = Retention("rowcast", "changes", 86_400.0, 2**30)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        for _ in range(turns):
            size = await retention.look(session)
            assert size is not None
            assert await retention.turn(session, size)


async def test_each_change_is_taken_once(fed: Fed, connection: psycopg.Connection) -> None:
    for key in range(1, 12):  # past the reads for which PostgreSQL plans each time
        keep(connection, key)
        assert await fed.read() == [str(key)]
    assert await fed.read() == []


async def test_one_that_was_open_at_a_read_is_taken_by_the_next(
    fed: Fed, connection: psycopg.Connection, database: str
) -> None:
    with psycopg.connect(database) as open_:
        keep(open_, 1)
        keep(connection, 2)
        assert await fed.read() == ["2"]
        open_.commit()
    assert await fed.read() == ["1"]


async def test_what_is_malformed_takes_nothing_with_it(
    fed: Fed, connection: psycopg.Connection
) -> None:
    """Other triggers wrote it, or nobody knows who."""
    lines = '{"t":"orders",],\n[1,2,', '{"t":"orders",\n"o":"?"}'
    for written in ('{"t":"orders",', *lines, '{"t":"orders","o":"u","k":7}'):
        keep(connection, 1)
        connection.execute("INSERT INTO rowcast.changes (slot, payload) VALUES (0, %s)", [written])
        keep(connection, 2)
        assert await fed.read() == ["1", "2", GAP]


async def test_changes_come_in_the_order_of_their_numbers_whatever_slot_they_are_in(
    fed: Fed, connection: psycopg.Connection
) -> None:
    connection.execute("""
        INSERT INTO rowcast.changes (slot, seq, payload)
        SELECT n % 3, 1000 - n, '{"t":"orders","o":"u","k":[["' || n || '"]]}'
        FROM generate_series(1, 500) n
    """)
    assert await fed.read() == [str(n) for n in range(500, 0, -1)]


async def test_more_than_can_be_read_at_once_is_a_gap(
    fed: Fed, connection: psycopg.Connection
) -> None:
    fill = """
        INSERT INTO rowcast.changes (slot, payload)
        SELECT 0, '{"t":"orders","o":"u","k":[["1"]]}' FROM generate_series(1, %s)
    """
    connection.execute(fill, [LIMIT])
    assert len(await fed.read()) == LIMIT
    connection.execute(fill, [LIMIT + 1])
    assert await fed.read() == [GAP]


async def test_what_is_pruned_before_the_first_read_is_a_gap(
    fed: Fed, connection: psycopg.Connection, database: str
) -> None:
    keep(connection, 1)
    await prune(database)
    assert await fed.read() == [GAP]


async def test_what_is_pruned_between_two_reads_is_a_gap(
    fed: Fed, connection: psycopg.Connection, database: str
) -> None:
    keep(connection, 1)
    assert await fed.read() == ["1"]
    keep(connection, 2)
    await prune(database)
    keep(connection, 3)
    assert await fed.read() == [GAP]
    keep(connection, 4)
    assert await fed.read() == ["4"]


async def test_a_turn_that_prunes_nothing_new_is_no_gap(
    fed: Fed, connection: psycopg.Connection, database: str
) -> None:
    keep(connection, 1)
    assert await fed.read() == ["1"]
    await prune(database)
    keep(connection, 2)
    assert await fed.read() == ["2"]


async def test_another_history_is_a_gap(fed: Fed, connection: psycopg.Connection) -> None:
    keep(connection, 1)
    assert await fed.read() == ["1"]
    connection.execute("UPDATE rowcast.changes_about SET identity = 'another'")
    keep(connection, 2)
    assert await fed.read() == [GAP]
    keep(connection, 3)
    assert await fed.read() == ["3"]
