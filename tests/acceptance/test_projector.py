"""The example projector: its model is the fold of the events, whenever it is killed.

$ROWCAST_PROJECTOR_KILLS says how often that is, $ROWCAST_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from bridge import config as config_file
from tests.support import PATIENCE, connect
from tests.support.bridges import running
from tests.support.warm import Program, load, warm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg

    from bridge.config import Config

PROJECTOR = "examples/projector.py"
KILLS = int(os.environ.get("ROWCAST_PROJECTOR_KILLS", "50"))
SEED = int(os.environ.get("ROWCAST_SEED", random.SystemRandom().randrange(2**32)))

FOLD = """
SELECT channel, sum((data ->> 'amount')::numeric), count(*)
FROM rowcast.events GROUP BY channel ORDER BY channel
"""
# Where a projector spends its time, so that it is killed there: in its transaction, and in
# the COMMIT, which PostgreSQL then finishes without it.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_sleep(TG_ARGV[0]::float); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON balances FOR EACH ROW
WHEN (NEW.account = 'accounts/0') EXECUTE FUNCTION slow(0.002);
CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON checkpoints INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION slow(0.02);
"""
MODEL = "SELECT account, balance, events FROM balances ORDER BY account"


@pytest.fixture
def settings(database: str) -> Config:
    text = "database: ${URL}\nevents: true\nserver: {port: 0}\n"
    return config_file.loads(text, env={"URL": database})


@pytest.fixture
def projector() -> Iterator[Program]:
    with warm(PROJECTOR) as program:
        yield program


def write(database: str, seed: int, done: Event) -> None:
    """Publishes until `done`, one to five at a time; one transaction in six is rolled back."""
    chance = random.Random(seed)
    with connect(database) as connection:
        while not done.wait(chance.uniform(0, 0.05)):
            with connection.transaction(force_rollback=chance.random() < 0.17):
                accounts = sorted(chance.choices(range(8), k=chance.randint(1, 5)))
                for account in accounts:  # in one order, or two could wait for each other
                    amount = chance.randint(-9, 9)
                    connection.execute(
                        "SELECT rowcast.publish(%s, jsonb_build_object('amount', %s::int))",
                        (f"accounts/{account}", amount),
                    )


@asynccontextmanager
async def writing(database: str, writers: int) -> AsyncIterator[None]:
    done = Event()
    with ThreadPoolExecutor(writers) as pool:
        tasks = [pool.submit(write, database, SEED + n, done) for n in range(writers)]
        try:
            yield
        finally:
            done.set()
    assert [task.exception() for task in tasks] == [None] * writers


async def until_it_is_the_fold(connection: psycopg.Connection) -> None:
    expected = connection.execute(FOLD).fetchall()
    async with asyncio.timeout(PATIENCE):
        while (found := rows(connection, MODEL)) != expected:
            counted = sum(events for _, _, events in found)
            assert counted <= sum(events for _, _, events in expected), f"twice, seed {SEED}"
            await asyncio.sleep(0.02)


def rows(connection: psycopg.Connection, query: str) -> list[Any]:
    if connection.execute("SELECT to_regclass('checkpoints')").fetchone() == (None,):
        return []
    return connection.execute(query).fetchall()


async def until_it_advances(connection: psycopg.Connection) -> None:
    query = "SELECT cursor FROM checkpoints"
    before = rows(connection, query)
    async with asyncio.timeout(PATIENCE):
        while rows(connection, query) == before:
            await asyncio.sleep(0.005)


async def test_a_projector_may_be_killed_at_any_point(
    settings: Config, projector: Program, database: str, admin: psycopg.Connection
) -> None:
    chance = random.Random(SEED)
    admin.execute(load(PROJECTOR).SETUP + SLOW)
    async with (
        running(settings) as one,
        running(settings, migrated=False) as other,
    ):
        async with writing(database, 3):
            for n in range(KILLS):
                pid = await projector.start((one, other)[n % 2].http, database)
                if n % 2:
                    await until_it_advances(admin)
                await asyncio.sleep(chance.uniform(0, 0.1))
                os.kill(pid, signal.SIGKILL)
        await projector.start(one.http, database)
        await until_it_is_the_fold(admin)
    assert admin.execute("SELECT count(*) FROM rowcast.events").fetchone() > (KILLS,)


async def test_a_projector_begins_anew_where_it_cannot_resume(
    settings: Config, projector: Program, database: str, admin: psycopg.Connection
) -> None:
    async with running(settings) as bridge:
        admin.execute("SELECT rowcast.publish('accounts/1', '{\"amount\": 5}')")
        pid = await projector.start(bridge.http, database)
        await until_it_is_the_fold(admin)
        os.kill(pid, signal.SIGKILL)
        admin.execute("UPDATE balances SET balance = 99")
        admin.execute("UPDATE checkpoints SET cursor = 'not one of this bridge'")
        admin.execute("SELECT rowcast.publish('accounts/2', '{\"amount\": 7}')")
        await projector.start(bridge.http, database)
        await until_it_is_the_fold(admin)


async def test_of_two_projectors_one_is_overtaken(
    settings: Config, projector: Program, database: str, admin: psycopg.Connection
) -> None:
    async with running(settings) as bridge:
        await projector.start(bridge.http, database)
        await projector.start(bridge.http, database)
        async with writing(database, 2):
            for _ in range(20):
                await until_it_advances(admin)
        await until_it_is_the_fold(admin)
