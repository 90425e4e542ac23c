"""Two configs on one database, each with a schema of its own, know nothing of each other."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge import catalog, migrate, storage
from bridge.drift import Drift
from bridge.drift import drift as found_drift
from bridge.retention import Retention
from tests.support import connect, http
from tests.support.bridges import configure, running
from tests.support.fingerprint import fingerprint
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from bridge.config import Config

TABLES = """
CREATE TABLE shared (id int PRIMARY KEY, shelf text, note text);
CREATE TABLE lines (id int PRIMARY KEY, shared_id int REFERENCES shared, note text);
CREATE TABLE mine (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
INSERT INTO shared VALUES (1, 'a', 'x'); INSERT INTO lines VALUES (1, 1, 'x');
"""
ONE = """
  shared: {durable: true, topics: [shared, "shelves/{shelf}"]}
  lines: {refreshes: shared}
  mine: {mode: log}
"""
OTHER = """
  shared: {trigger: row, durable: true, where: "note <> 'hidden'"}
  again: {table: shared, columns: [id, note]}
"""


@pytest.fixture
def neighbours(database: str, admin: psycopg.Connection) -> tuple[Config, Config]:
    admin.execute(TABLES)
    one = configure(database, ONE, schema="one", events="true")
    return one, configure(database, OTHER, schema="other", events="true")


def silent(_: str) -> None:
    pass


def drifts(config: Config, connection: psycopg.Connection) -> list[Drift]:
    return found_drift(connection, config, catalog.resolved(connection, config))


def counted(found: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Without the rows that count: the neighbour adds to those."""
    return {row for row in found if "dependencies" not in row[0]}


async def test_migrations_leave_the_neighbour_alone(
    neighbours: tuple[Config, Config], admin: psycopg.Connection
) -> None:
    one, other = neighbours
    bare = fingerprint(admin)
    await asyncio.to_thread(migrate.apply, one, progress=silent)
    alone = fingerprint(admin)
    await asyncio.to_thread(migrate.apply, other, progress=silent)
    both = fingerprint(admin)
    assert counted(alone) < counted(both)
    assert drifts(one, admin) == drifts(other, admin) == []
    # Two names of one table, and one name in two schemas: each has triggers of its own.
    assert admin.execute(
        "SELECT count(*), count(DISTINCT tgname) FROM pg_trigger"
        " WHERE tgrelid = 'shared'::regclass AND tgname LIKE 'rowcast%'"
    ).fetchone() == (12, 12)
    fewer = configure(one.database, "  mine: {mode: log}\n", schema="one")
    await asyncio.to_thread(migrate.apply, fewer, progress=silent)
    assert drifts(other, admin) == []
    await asyncio.to_thread(migrate.apply, one, progress=silent)
    assert fingerprint(admin) == both
    await asyncio.to_thread(migrate.remove, other, progress=silent)
    assert fingerprint(admin) == alone
    await asyncio.to_thread(migrate.remove, one, progress=silent)
    assert fingerprint(admin) == bare


async def test_each_serves_its_own_and_outlives_the_other(
    neighbours: tuple[Config, Config], admin: psycopg.Connection
) -> None:
    one, other = neighbours
    async with running(one) as left:
        async with running(other) as right:
            async with (
                following(left.url, "shared", "shelves/a") as mine,
                following(right.url, "shared", "again") as theirs,
            ):
                admin.execute("UPDATE shared SET note = 'hidden'")
                admin.execute("INSERT INTO mine (note) VALUES ('m')")
                admin.execute("SELECT one.publish('a', '1'), other.publish('a', '2')")
                found = rows(admin, "SELECT * FROM shared")
                again = rows(admin, "SELECT id, note FROM shared")
                await mine.equals({"shared": found, "shelves/a": found})
                await theirs.equals({"shared": {}, "again": again})
            for bridge in (left, right):
                status = (await http.get(bridge.http, "/inspector/status")).json()
                assert [known["name"] for known in status["instances"]] == [status["instance"]]
            kept = admin.execute(
                "SELECT (SELECT count(*) FROM one.changes), (SELECT count(*) FROM one.log),"
                " (SELECT count(*) FROM other.log), (SELECT count(*) FROM other.changes)"
            ).fetchone()
            assert kept == (1, 2, 1, 1)
        await asyncio.to_thread(migrate.remove, other, progress=silent)
        assert admin.execute("SELECT data FROM other.events").fetchall() == [(2,)]
        async with following(left.url, "shared") as mine:
            admin.execute("UPDATE shared SET note = 'seen'")
            await mine.equals({"shared": rows(admin, "SELECT * FROM shared")})
        assert left.bridge.health.ready


async def test_locks_are_each_schemas_own(
    neighbours: tuple[Config, Config], admin: psycopg.Connection, database: str
) -> None:
    """Of a migration, of who leads, of who prunes: held for one, they are free for the other."""
    one, other = neighbours
    await asyncio.to_thread(migrate.apply, one, progress=silent)
    migrating = int.from_bytes(sha256(b"rowcast migrate one").digest()[:7])
    pace, turn = storage.pace("one", "changes").as_string(admin), "one.changes turn"
    with connect(database) as ear:
        admin.execute(f"SELECT pg_advisory_lock({migrating}), pg_advisory_lock({pace})")
        admin.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (turn,))
        await asyncio.to_thread(migrate.apply, other, progress=silent)
        ear.execute("LISTEN one; LISTEN other")
        ear.execute("UPDATE shared SET note = 'y'")
        heard = {(note.channel, note.payload) for note in ear.notifies(timeout=0, stop_after=1)}
        assert ("other", '{"ring": "changes"}') in heard
        assert not any(channel == "one" for channel, _ in heard)
    retention = Retention("other", "changes", 1.0, 2**30)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        size = await retention.look(session)
        assert size is not None
        assert await retention.turn(session, size)
