"""Where many write, one instance leads and writers are silent; nothing is missed all the same."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING

import pytest

from bridge import migrate
from bridge.pacer import State, Tempo
from tests.support import connect
from tests.support.bridges import becomes, configure, running
from tests.support.pacing import CONFIG, TABLE, outcome
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

    from tests.support.bridges import Running
    from tests.support.replica import Replica


@pytest.fixture
def table(admin: psycopg.Connection) -> None:
    admin.execute(TABLE)


async def test_restless_instances_that_are_killed_miss_nothing(table: None, database: str) -> None:
    config = configure(database, CONFIG)
    await asyncio.to_thread(migrate.apply, config, progress=lambda _line: None)
    found = await outcome(config, seconds=8)
    assert found.committed > 0
    assert found.unseen == 0
    assert min(found.turns, found.led, found.killed) > 0, found


def insert(database: str, stop: threading.Event) -> None:
    """One row a transaction, as fast as it goes."""
    with connect(database) as writer:
        while not stop.is_set():
            writer.execute("INSERT INTO items DEFAULT VALUES")


async def said_while_led(bridge: Running, replica: Replica, ear: psycopg.Connection) -> list[str]:
    """What is notified while 200 rows are written and the instance leads all the time.

    On a busy machine it may find so little that it lets go; then from the beginning.
    """
    assert bridge.bridge._durable is not None
    pacer = bridge.bridge._durable.pacing.pacer
    while True:
        await becomes(bridge, State.LEADING)
        since, count = pacer._since, len(replica.held["items"].rows)
        ear.execute("LISTEN rowcast")
        await replica.until(lambda: len(replica.held["items"].rows) > count + 200)  # noqa: B023
        led = (pacer.state, pacer._since) == (State.LEADING, since)
        ear.execute("UNLISTEN *")
        said = [heard.payload for heard in ear.notifies(timeout=0)]
        if led:
            return said


async def test_writers_are_silent_while_an_instance_leads(
    table: None, database: str, admin: psycopg.Connection
) -> None:
    config = configure(database, CONFIG)
    async with running(config) as bridge, following(bridge.url, "items") as replica:
        with connect(database) as ear:
            stop = threading.Event()
            writing = asyncio.create_task(asyncio.to_thread(insert, database, stop))
            said = await said_while_led(bridge, replica, ear)
            stop.set()
            await writing
        assert [text for text in said if '"xid"' in text] == []
        await replica.equals({"items": rows(admin, "SELECT * FROM items")})
        await becomes(bridge, State.RESTING)
        admin.execute("INSERT INTO items (note) VALUES ('a quiet one')")
        await replica.equals({"items": rows(admin, "SELECT * FROM items")})


async def test_a_transaction_is_one_writer_however_many_rows_it_names(
    table: None, database: str, admin: psycopg.Connection
) -> None:
    async with (
        running(configure(database, CONFIG)) as bridge,
        following(bridge.url, "items") as replica,
    ):
        await becomes(bridge, State.RESTING)
        with admin.transaction():
            for _ in range(Tempo().busy * 4):
                admin.execute("INSERT INTO items DEFAULT VALUES")
        await replica.equals({"items": rows(admin, "SELECT * FROM items")})
        assert bridge.bridge._durable is not None
        assert bridge.bridge._durable.pacing.pacer._since == -math.inf, "it asked for the lock"


async def test_who_is_not_followed_leads_nobody(
    table: None, database: str, admin: psycopg.Connection
) -> None:
    async with running(configure(database, CONFIG)) as bridge:
        admin.execute("LISTEN rowcast")
        for _ in range(Tempo().busy * 4):
            admin.execute("INSERT INTO items DEFAULT VALUES")
        said = [heard.payload for heard in admin.notifies(timeout=0)]
        assert len([text for text in said if '"xid"' in text]) == Tempo().busy * 4
        async with following(bridge.url, "items"):
            await becomes(bridge, State.RESTING)
        await becomes(bridge, State.RESTING)
