"""A bridge and a database of two versions: they go together, or say why not and what to do."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bridge import catalog, inventory, migrate, records, versions, watch
from bridge.drift import drift
from bridge.errors import DatabaseError
from bridge.inspection import inspect
from bridge.pipeline import Bridge
from tests.support import PATIENCE
from tests.support.bridges import Running, configure, running
from tests.support.fingerprint import fingerprint
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

    from bridge.config import Config


@pytest.fixture
def settings(database: str, admin: psycopg.Connection) -> Config:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items VALUES (1, 0)")
    config = configure(database, "  items: {durable: true}\n")
    migrate.apply(config, progress=lambda _line: None)
    return config


def mark(admin: psycopg.Connection, schema: int, since: int) -> None:
    """As another version's migration would leave it."""
    text = versions.comment().partition("rowcast: ")[0]
    text += "rowcast: " + json.dumps({"schema": schema, "since": since})
    admin.execute(f"COMMENT ON TABLE rowcast.epoch IS '{text}'")


def rewrite(admin: psycopg.Connection) -> None:
    """The function as another version might write it: to the same effect, and untouched since."""
    (found,) = inventory.installed(admin, "rowcast").functions
    create, comment = found.definition
    body = found.body.replace("Written by", "Composed by")
    admin.execute(create.replace("Written by", "Composed by").encode())
    ours = records.digest(found.body, found.settings)
    assert ours in comment
    theirs = records.digest(body, found.settings)
    admin.execute(comment.replace(ours, theirs).encode())


def drifts(settings: Config, admin: psycopg.Connection) -> list[tuple[str, bool]]:
    found = drift(admin, settings, catalog.resolved(admin, settings))
    return [(one.message, one.grave) for one in found]


async def test_functions_of_another_version_are_served_by(
    settings: Config, admin: psycopg.Connection
) -> None:
    rewrite(admin)
    assert drifts(settings, admin) == [
        ("function as another version of the bridge wrote it", False)
    ]
    found = [finding for finding in inspect(settings) if finding.about != "definer"]
    assert [finding.grave for finding in found] == [False]
    async with running(settings, migrated=False) as bridge, following(bridge.url, "items") as one:
        admin.execute("UPDATE items SET n = 1")
        await one.equals({"items": rows(admin, "SELECT * FROM items")})
        assert bridge.bridge.health.ready
    migrate.apply(settings, progress=lambda _line: None)
    assert drifts(settings, admin) == []


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION rowcast.{name}() RETURNS trigger LANGUAGE plpgsql"
        " SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off"
        " AS 'BEGIN RETURN NULL; END'",
        "COMMENT ON FUNCTION rowcast.{name}() IS NULL",
    ],
)
def test_functions_that_somebody_changed_are_not(
    settings: Config, admin: psycopg.Connection, change: str
) -> None:
    rewrite(admin)
    (found,) = inventory.installed(admin, "rowcast").functions
    admin.execute(change.format(name=found.name).encode())
    assert drifts(settings, admin) == [("function not what the config asks for", True)]


def test_functions_that_were_asked_for_something_else_are_not(
    settings: Config, admin: psycopg.Connection, database: str
) -> None:
    rewrite(admin)
    other = configure(database, "  items: {durable: true, changed: [n]}\n")
    assert drifts(other, admin) == [("function not what the config asks for", True)]


def test_a_newer_schema_is_served_if_it_says_so_and_never_migrated(
    settings: Config, admin: psycopg.Connection
) -> None:
    mark(admin, versions.SCHEMA + 1, versions.SCHEMA)
    before = fingerprint(admin)
    (found,) = drifts(settings, admin)
    assert (f"has schema version {versions.SCHEMA + 1}" in found[0], found[1]) == (True, False)
    for verb in (migrate.apply, migrate.remove):
        with pytest.raises(DatabaseError, match="made by a newer rowcast than this one"):
            verb(settings, progress=lambda _line: None)
    for look in (migrate.plan, migrate.script):
        with pytest.raises(DatabaseError, match="made by a newer rowcast than this one"):
            look(settings)
    assert fingerprint(admin) == before


async def test_a_bridge_that_cannot_work_with_a_schema_waits_for_one_that_it_can(
    settings: Config, admin: psycopg.Connection
) -> None:
    mark(admin, versions.SCHEMA + 1, versions.SCHEMA + 1)
    (finding,) = inspect(settings)
    assert finding.grave
    assert "start a newer rowcast" in finding.message
    waiting = Running(Bridge(settings))
    serving = asyncio.create_task(waiting.bridge.run(waiting.started))
    async with asyncio.timeout(PATIENCE):
        while "start a newer rowcast" not in waiting.bridge.health.reasons.get("database", ""):
            await asyncio.sleep(0.01)
        mark(admin, versions.SCHEMA, versions.SINCE)
        await waiting.bridge.health.wait()
    waiting.bridge.stop()
    await serving


async def test_one_that_runs_ends_when_the_schema_is_migrated_from_under_it(
    settings: Config, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.05)
    running = Running(Bridge(settings))
    serving = asyncio.create_task(running.bridge.run(running.started))
    await running.bridge.health.wait()
    mark(admin, versions.SCHEMA + 1, versions.SCHEMA + 1)
    async with asyncio.timeout(PATIENCE):
        with suppress(BaseExceptionGroup):
            await serving
    error: BaseException | None = serving.exception()
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert "start a newer rowcast" in str(error)


def test_a_comment_that_got_lost_is_written_again(
    settings: Config, admin: psycopg.Connection
) -> None:
    whole = fingerprint(admin)
    admin.execute("COMMENT ON TABLE rowcast.epoch IS NULL")
    assert drifts(settings, admin) == [("rowcast.epoch does not say of which version it is", False)]
    lines: list[str] = []
    migrate.apply(settings, progress=lines.append)
    assert lines == ["rowcast: note the version"]
    assert fingerprint(admin) == whole
