"""What the database and subscribers are not troubled with.

What was read is what PostgreSQL's own log says: it has each statement before that is executed.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bridge.feed import AHEAD
from bridge.pacer import State, Tempo
from tests.support import PATIENCE, connect
from tests.support.bridges import becomes, configure, running
from tests.support.visitor import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg

    from bridge.demo.postgres import Postgres
    from tests.support.bridges import Running
    from tests.support.visitor import Visit

TABLES = """
CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
CREATE TABLE parcels (LIKE items INCLUDING ALL);
CREATE TABLE letters (LIKE items INCLUDING ALL);
INSERT INTO items SELECT generate_series(1, 9);
INSERT INTO parcels SELECT generate_series(1, 9);
INSERT INTO letters SELECT generate_series(1, 9);
"""
CONFIG = """
  items: {topics: [items, "items/{id}"], debounce: 1ms}
  parcels: {debounce: 1ms}
  letters: {leading: false, debounce: 1s}
"""
ROUNDS = 20
CROWD = 200

FEW = 8
"""Reads: one each that the two readers may have begun before all were there, as many for those
who came meanwhile, and as much again for those that were given up for the lock."""

_KEYS = re.compile(r"^rowcast\|DETAIL:  [Pp]arameters: \$1 = '\{(.*)\}'$", re.MULTILINE)


_AHEAD = re.compile(r"^rowcast\|DETAIL:  [Pp]arameters: .*\$4 = '\{(.*)\}'$", re.MULTILINE)


class Log:
    """What the bridge has asked PostgreSQL since this was made."""

    def __init__(self, postgres: Postgres) -> None:
        self._path = postgres.log_path
        self._from = self._path.stat().st_size

    def _text(self) -> str:
        return self._path.read_bytes()[self._from :].decode()

    def reads(self, table: str) -> int:
        """Statements that name it; their lines but for the first are indented."""
        of = rf'^rowcast\|LOG:  (?:statement|execute).*(?:\n\t.*)*?"public"\."{table}"'
        return len(re.findall(of, self._text(), re.MULTILINE))

    def both(self, table: str) -> int:
        """Those of them that read what was kept, too."""
        of = rf'^rowcast\|LOG:  .*(?:\n\t.*)*?"public"\."{table}".*(?:\n\t.*)*?"rowcast"\."changes"'
        return len(re.findall(of, self._text(), re.MULTILINE))

    def ahead(self) -> list[list[str]]:
        """The keys that were asked for together with what was kept."""
        return [keys.split(",") for keys in _AHEAD.findall(self._text())]

    def keys(self) -> list[str]:
        """What single-column keys were asked for, one text for each statement."""
        return [keys.replace('"', "") for keys in _KEYS.findall(self._text())]


@pytest.fixture
def application(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """On a server that logs all statements."""
    with connect(postgres.url()) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("ALTER SYSTEM SET log_line_prefix = '%a|'")
        connection.execute("SELECT pg_reload_conf()")
        while connection.execute("SHOW log_line_prefix").fetchone() != ("%a|",):
            time.sleep(0.01)
        connection.execute(TABLES)
        yield connection


async def test_nobody_subscribed_no_reload(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    """Neither of a table nor of a key that nobody follows, while another key is read each time."""
    async with (
        running(configure(postgres.url(), CONFIG, reconcile="0")) as bridge,
        visiting(bridge.url, "items/1") as visit,
    ):
        await visit.begin()
        log = Log(postgres)
        for n in range(1, ROUNDS + 1):
            application.execute("UPDATE parcels SET n = %s", (n,))
            application.execute("UPDATE items SET n = %s WHERE id > 1", (n,))
            application.execute("UPDATE items SET n = %s WHERE id = 1", (n,))
            assert (await visit.next())["row"] == {"id": 1, "n": n}
        assert bridge.bridge.metrics.changes["parcels"] > 0, "it did not hear of them"
        assert (log.reads("items"), log.reads("parcels")) == (ROUNDS, 0)
        assert log.keys() == ["1"] * ROUNDS


@asynccontextmanager
async def ringing(postgres: Postgres) -> AsyncIterator[tuple[Running, Visit]]:
    """A bridge that is rung for by the writers of durable tables, and who follows `items` there."""
    tables = "  items: {durable: true, topics: [items], debounce: 1ms}\n  parcels: {durable: true}"
    async with (
        running(configure(postgres.url(), tables, reconcile="0")) as bridge,
        visiting(bridge.url, "items") as visit,
    ):
        await visit.begin()
        await becomes(bridge, State.RESTING)
        yield bridge, visit


def failed(bridge: Running) -> float | None:
    return bridge.bridge.metrics.registry.get_sample_value("rowcast_load_errors_total")


async def test_what_a_ring_names_is_read_with_what_was_kept(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    """One statement for a change, and its message has a cursor past it."""
    async with ringing(postgres) as (bridge, visit):
        log = Log(postgres)
        for n in range(1, Tempo().busy):
            application.execute("UPDATE items SET n = %s WHERE id = 1", (n,))
            message = await visit.next()
            assert message["row"] == {"id": 1, "n": n}
        assert log.reads("items") == log.both("items") == Tempo().busy - 1
        async with visiting(bridge.url, "items", message["cursor"]) as again:
            assert (await again.begin())[1] == []


NAMES = """SELECT pg_notify('rowcast', '{"ring":"changes","xid":"1","t":"%s","o":"u","k":%s}')"""


async def test_keys_that_are_none_keep_no_change_from_being_read(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    """Any role can ring, and name what it likes."""
    async with ringing(postgres) as (bridge, visit):
        for n in range(1, Tempo().busy):
            with application.transaction():
                application.execute((NAMES % ("items", '[["none"]]')).encode())
                application.execute("UPDATE items SET n = %s WHERE id = 1", (n,))
            assert (await visit.next())["row"] == {"id": 1, "n": n}
        assert failed(bridge) == 0


async def test_of_what_is_named_no_more_is_read_ahead_than_a_few(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    async with ringing(postgres) as (_, visit):
        log = Log(postgres)
        keys = [[str(n)] for n in range(1, 500)]
        application.execute((NAMES % ("items", json.dumps(keys))).encode())
        application.execute("UPDATE items SET n = 1 WHERE id = 1")
        assert (await visit.next())["row"] == {"id": 1, "n": 1}
        assert 1 <= max(map(len, log.ahead())) <= AHEAD


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'parcels'::regclass"


async def test_a_table_that_is_locked_keeps_no_change_of_another_from_being_read(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    """Whoever names its rows would have that read wait, until PostgreSQL gives it up."""
    async with ringing(postgres) as (bridge, visit), visiting(bridge.url, "parcels") as other:
        await other.begin()
        with connect(postgres.url()) as altering, altering.transaction():
            altering.execute("LOCK TABLE parcels IN ACCESS EXCLUSIVE MODE")
            application.execute((NAMES % ("parcels", '[["1"]]')).encode())
            application.execute("UPDATE items SET n = 1 WHERE id = 1")
            assert (await visit.next())["row"] == {"id": 1, "n": 1}
            assert application.execute(WAITING).fetchone() == (1,), "it waited for that read's end"
            assert failed(bridge) == 0


THERE_AND_BACK = "UPDATE {0} SET n = n + 1 WHERE id = 1; {1} UPDATE {0} SET n = n - 1 WHERE id = 1"


@pytest.mark.parametrize(
    ("table", "change", "read"),
    [
        ("items", "UPDATE items SET n = n WHERE id = 1", False),
        ("items", f"BEGIN; {THERE_AND_BACK.format('items', '')}; COMMIT", True),
        ("items", "BEGIN; DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1); END", True),
        ("letters", THERE_AND_BACK.format("letters", "COMMIT;"), True),
    ],
    ids=["nothing changed", "changed and back", "deleted and back", "back within the debounce"],
)
async def test_equal_state_no_message(
    application: psycopg.Connection[Any], postgres: Postgres, table: str, change: str, read: bool
) -> None:
    """One ends as what was sent before; the next message is of what is changed after it."""
    async with (
        running(configure(postgres.url(), CONFIG, reconcile="0")) as bridge,
        visiting(bridge.url, table) as visit,
    ):
        await visit.begin()
        log = Log(postgres)
        application.execute(change.encode())
        application.execute(f"UPDATE {table} SET n = 7 WHERE id = 2".encode())
        message = await visit.next()
        assert (message["type"], message["row"]) == ("change", {"id": 2, "n": 7})
        assert ("1" in ",".join(log.keys()).split(",")) == read
        assert await visit.so_far() == []


async def test_a_snapshot_is_read_once_for_many(
    application: psycopg.Connection[Any], postgres: Postgres
) -> None:
    """Reads are held up until all have come, so that their number depends on no clock."""
    async with (
        running(configure(postgres.url(), CONFIG, reconcile="0")) as bridge,
        AsyncExitStack() as stack,
    ):
        visits = [
            await stack.enter_async_context(visiting(bridge.url, "items")) for _ in range(CROWD)
        ]
        log, mailboxes = Log(postgres), bridge.bridge.hub.mailboxes
        with application.transaction():
            application.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
            for visit in visits:
                await visit.send(type="subscribe", topic="items")
            async with asyncio.timeout(PATIENCE):
                while sum(len(mailbox.subscriptions) for mailbox in mailboxes) < CROWD:
                    await asyncio.sleep(0.02)
        for rows in await asyncio.gather(*map(_snapshot, visits)):
            assert rows == [{"id": n, "n": 0} for n in range(1, 10)]
        assert 1 <= log.reads("items") <= FEW


async def _snapshot(visit: Visit) -> list[dict[str, Any]]:
    while (message := await visit.next())["type"] != "snapshot":
        pass
    assert message["first"]
    assert message["last"]
    return sorted((entry["row"] for entry in message["rows"]), key=lambda row: row["id"])
