"""What each release made in a database is migrated by this version, and nothing kept is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge import catalog, cursor, history, migrate, versions
from bridge.changelog import Changelog
from bridge.client import Client
from bridge.drift import drift
from bridge.pool import open_pool
from tests.support import PATIENCE, connect, fresh_database
from tests.support.bridges import running
from tests.support.fingerprint import fingerprint
from tests.support.replica import following, rows
from tests.upgrades.releases import APPLICATION, HISTORY, configured, releases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from bridge.config import Config
    from tests.support import Server

KEPT = {
    "changes": "SELECT seq, xid::text, payload FROM rowcast.changes ORDER BY seq",
    "log": "SELECT seq, xid::text, source, key FROM rowcast.log ORDER BY seq",
    "audit": "SELECT seq, at, source, op, key, changed, old, new, login FROM rowcast.audit"
    " ORDER BY seq",
    "events": "SELECT * FROM rowcast.events ORDER BY position",
    "channels": "SELECT * FROM rowcast.channels",
    "epoch": "SELECT epoch FROM rowcast.epoch",
}


@pytest.fixture(params=releases(), ids=lambda file: file.stem)
def release(request: pytest.FixtureRequest) -> Path:
    """What a release made."""
    file: Path = request.param
    return file


@pytest.fixture
def bare(admin: psycopg.Connection) -> set[tuple[str, ...]]:
    """The application's tables, and the catalog with nothing else in it."""
    admin.execute(APPLICATION.read_bytes())
    return fingerprint(admin)


@pytest.fixture
def old(bare: set[tuple[str, ...]], release: Path, admin: psycopg.Connection) -> Path:
    """The same with what the release made for it."""
    admin.execute(release.read_bytes())
    return release


def lived(connection: psycopg.Connection) -> dict[str, list[Any]]:
    """The application works with it; what of that is kept."""
    connection.execute(HISTORY.read_bytes())
    found = kept(connection)
    assert all(found.values())
    return found


@pytest.fixture
def twin(server: Server, template: str) -> Iterator[str]:
    yield from fresh_database(server, template)


def kept(connection: psycopg.Connection) -> dict[str, list[Any]]:
    return {name: connection.execute(query).fetchall() for name, query in KEPT.items()}


def apply(config: Config) -> list[str]:
    lines: list[str] = []
    migrate.apply(config, progress=lines.append)
    return lines


async def place(config: Config) -> str:
    """The cursor of who has seen all of `orders` until now."""
    async with open_pool(config) as pool:
        about = await Changelog(pool, config.schema).about()
    made = cursor.of_moment(about.identity, "orders", about.now)
    assert made
    return made


async def test_an_old_database_becomes_as_a_new_one(
    bare: set[tuple[str, ...]], old: Path, admin: psycopg.Connection, database: str, twin: str
) -> None:
    config = configured(database)
    since = await place(config)
    before = lived(admin)
    await asyncio.to_thread(apply, config)
    assert kept(admin) == before
    assert drift(admin, config, catalog.resolved(admin, config)) == []
    assert not migrate.plan(config)
    with connect(twin) as other:
        _prepare(other)
        await asyncio.to_thread(apply, configured(twin))
        assert fingerprint(admin) == fingerprint(other)

    await _works(config, admin, since)

    admin.execute("TRUNCATE rowcast.audit; TRUNCATE rowcast.events, rowcast.channels")
    await asyncio.to_thread(migrate.remove, config, progress=lambda _line: None)
    assert fingerprint(admin) == bare


def _prepare(connection: psycopg.Connection) -> None:
    connection.execute(APPLICATION.read_bytes())


async def _works(config: Config, admin: psycopg.Connection, since: str) -> None:
    """It serves, tells who was away what was missed, and replays what was kept."""
    async with running(config, migrated=False) as bridge:
        async with Client(bridge.url) as client:
            orders = client.follow("orders", since={"orders": since})
            resumed, change = await anext(orders), await anext(orders)
            assert (resumed.resumed, change.row["status"]) == (True, "sent")
            events = client.follow("events", "payments", since="start")
            async with asyncio.timeout(PATIENCE):
                told = [one async for one in _first(events, 3)]
            assert sorted(one.table for one in told) == ["events", "payments", "payments"]
        topics = ["customers/7/orders", "products", "notes"]
        async with following(bridge.url, *topics) as replica:
            admin.execute("UPDATE orders SET status = 'paid'; UPDATE order_items SET quantity = 9")
            admin.execute("UPDATE shop.others SET price = 8; UPDATE notes SET note = 'second'")
            statement = "SELECT id, customer_id, status, placed FROM orders"
            await replica.equals(
                {
                    topics[0]: rows(admin, statement),
                    topics[1]: rows(admin, "SELECT * FROM shop.product_cards", key="code"),
                    topics[2]: rows(admin, "SELECT * FROM notes", key="tag"),
                }
            )
    found = admin.execute("SELECT source, old, new FROM rowcast.audit ORDER BY seq DESC LIMIT 3")
    assert {row[0] for row in found.fetchall()} == {"orders", "order_items", "products"}


async def _first(messages: Any, count: int) -> Any:
    async for message in messages:
        if type(message).__name__ == "Event":
            yield message
            count -= 1
        if not count:
            return


def test_there_is_a_release_of_this_schema_version(
    old: Path, admin: psycopg.Connection, database: str
) -> None:
    """The last one, if no revision came since; whoever adds one has not released it yet."""
    if old != releases()[-1]:
        return
    config = configured(database)
    found = history.directory(history.alembic_config(config))
    with connect(database) as connection:
        waiting = history.pending(found, history.current(config, connection))
    assert len(waiting) <= 1
    (text,) = admin.execute("SELECT obj_description('rowcast.epoch'::regclass)").fetchall()[0]
    mark = versions.read(text)
    assert mark is not None
    assert mark.schema + len(waiting) == versions.SCHEMA


def test_what_was_released_restores_from_a_dump_without_comments(
    old: Path, admin: psycopg.Connection, database: str
) -> None:
    """pg_dump --no-comments, say: all is written anew, and nothing kept is lost."""
    before = lived(admin)
    admin.execute("COMMENT ON TABLE rowcast.epoch IS NULL; COMMENT ON SCHEMA rowcast IS NULL")
    functions = admin.execute(
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'rowcast'::regnamespace AND pronargs = 0"
    ).fetchall()
    for (function,) in functions:
        admin.execute(f"COMMENT ON FUNCTION {function} IS NULL".encode())
    config = configured(database)
    assert "rowcast: note the version" in apply(config)
    assert drift(admin, config, catalog.resolved(admin, config)) == []
    assert kept(admin) == before
