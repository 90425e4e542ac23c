"""What is kept stays for its time, goes after it, and takes no more room than it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge import storage
from bridge.retention import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DAY = 86_400.0
WIDTH = DAY / (storage.SLOTS - 1)


@pytest.fixture(params=["changes", "log"])
async def store(request: pytest.FixtureRequest, connection: psycopg.Connection) -> str:
    connection.execute("CREATE SCHEMA rowcast")
    connection.execute(storage.create("rowcast", request.param).encode())
    return str(request.param)


@pytest.fixture
async def session(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        yield session


def keep(connection: psycopg.Connection, store: str, count: int = 1) -> None:
    columns = {"changes": "payload", "log": "source, key"}[store]
    values = {"changes": "repeat('x', 1000)", "log": "'t', repeat('x', 1000)"}[store]
    slot = storage.slot("rowcast", store).as_string(None)
    connection.execute(
        f"INSERT INTO rowcast.{store} (slot, {columns})"
        f" SELECT {slot}, {values} FROM generate_series(1, {count})"
    )


def count(connection: psycopg.Connection, store: str) -> int:
    (found,) = connection.execute(f"SELECT count(*) FROM rowcast.{store}").fetchone() or (0,)
    return int(found)


def later(connection: psycopg.Connection, store: str, seconds: float) -> None:
    """Time passes, as far as the store can tell."""
    connection.execute(
        f"UPDATE rowcast.{store}_about SET began = began - make_interval(secs => {seconds})"
    )


async def tend(retention: Retention, session: psycopg.AsyncConnection) -> bool:
    size = await retention.look(session)
    assert size is not None
    return retention.due(size) and await retention.turn(session, size)


async def test_a_day_is_kept_for_a_day_and_not_for_two(
    store: str, connection: psycopg.Connection, session: psycopg.AsyncConnection
) -> None:
    retention = Retention("rowcast", store, DAY, 2**30)
    most = 0
    for _minutes in range(0, 48 * 60, 6):
        keep(connection, store)
        later(connection, store, 360.0)
        await tend(retention, session)
        most = max(most, count(connection, store))
    assert 240 <= count(connection, store) <= most <= 240 + WIDTH / 360 + 8


async def test_what_is_pruned_is_noted(
    store: str, connection: psycopg.Connection, session: psycopg.AsyncConnection
) -> None:
    retention = Retention("rowcast", store, DAY, 2**30)
    number = {"changes": "xid", "log": "seq"}[store]
    keep(connection, store)
    (first,) = connection.execute(f"SELECT max({number})::text FROM rowcast.{store}").fetchone()
    for _ in range(storage.SLOTS - 1):
        later(connection, store, WIDTH)
        assert await tend(retention, session)
        assert connection.execute(f"SELECT pruned FROM rowcast.{store}_about").fetchone() == (None,)
        keep(connection, store)
    later(connection, store, WIDTH)
    assert await tend(retention, session)
    found = connection.execute(f"SELECT pruned::text FROM rowcast.{store}_about").fetchone()
    assert found == (first,)
    assert count(connection, store) == storage.SLOTS - 1


async def test_its_size_is_bounded_whatever_its_time(
    store: str, connection: psycopg.Connection, session: psycopg.AsyncConnection
) -> None:
    bound = 4 * 2**20
    retention = Retention("rowcast", store, DAY, bound)
    for _ in range(40):
        keep(connection, store, 100)
        await tend(retention, session)
        size = await retention.look(session)
        assert size is not None
        assert size.total < bound * 1.5  # empty slots and indexes of eight slots take a little
    assert 500 < count(connection, store) < 4000


async def test_who_still_writes_there_is_waited_for_by_nobody(
    store: str, connection: psycopg.Connection, session: psycopg.AsyncConnection, database: str
) -> None:
    retention = Retention("rowcast", store, DAY, 2**30)
    with psycopg.connect(database) as slow:
        keep(slow, store)
        for _ in range(storage.SLOTS - 1):
            later(connection, store, WIDTH)
            assert await tend(retention, session)
        later(connection, store, WIDTH)
        assert not await tend(retention, session)
        keep(connection, store)
        slow.commit()
    assert await tend(retention, session)
    assert count(connection, store) == 1


async def test_of_two_instances_one_turns(
    store: str, connection: psycopg.Connection, database: str, session: psycopg.AsyncConnection
) -> None:
    retention = Retention("rowcast", store, DAY, 2**30)
    later(connection, store, WIDTH)
    size = await retention.look(session)
    assert size is not None
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        both = await asyncio.gather(
            retention.turn(session, size), retention.turn(other, size), return_exceptions=True
        )
    assert sorted(both) == [False, True]
