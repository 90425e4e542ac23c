"""`rowcast status` finds every instance through the database, with no rights in it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bridge.errors import BridgeError, DatabaseError
from bridge.rollcall import call, fetch
from tests.support import connect
from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.visitor import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import psycopg

    from bridge.config import Config
    from tests.support.bridges import Running

TABLES = "  items: {}\n"


@pytest.fixture
def config(database: str, admin: psycopg.Connection) -> Config:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    return configure(database, TABLES)


@pytest.fixture
async def instances(config: Config) -> AsyncIterator[list[Running]]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(config))
        yield [first, await stack.enter_async_context(running(config, migrated=False))]


@pytest.fixture
def stranger(admin: psycopg.Connection) -> Iterator[str]:
    """A role that may do nothing but connect."""
    role = sql.Identifier(name := f"stranger_{uuid4().hex[:8]}")
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
    yield name
    admin.execute(sql.SQL("DROP ROLE {}").format(role))


async def test_every_instance_answers(
    config: Config, instances: list[Running], admin: psycopg.Connection
) -> None:
    async with visiting(instances[0].url, "items") as visit:
        await visit.begin()
        instances[1].bridge.health.fail("reload items", 'reload items: no integer: "hush"')
        roll = await asyncio.to_thread(call, config, 30.0)
    found = {one.name: one.status for one in roll.instances}
    assert found.keys() == {one.bridge.instance for one in instances}
    well, ill = (found[one.bridge.instance] for one in instances)
    assert well is not None
    assert ill is not None
    assert (well.ready, well.subscribers, well.topics) == (True, 1, 1)
    assert well.address == instances[0].http.removeprefix("http://")
    assert (ill.ready, ill.subscribers, ill.drift) == (False, 0, 0)
    assert ill.reasons == ("reload items fails; the log of the instance says why",)
    assert admin.execute("SELECT pg_notification_queue_usage()").fetchone() == (0.0,)


async def test_who_may_only_connect_finds_them(
    config: Config, instances: list[Running], database: str, stranger: str
) -> None:
    theirs = make_conninfo(database, user=stranger, password="x")
    roll = await asyncio.to_thread(call, replace(config, database=theirs, listen=theirs), 30.0)
    assert {one.name for one in roll.instances} == {one.bridge.instance for one in instances}
    assert all(one.status is not None and one.status.ready for one in roll.instances)


async def test_what_does_not_answer_is_found_all_the_same(
    config: Config, database: str, instances: list[Running]
) -> None:
    with connect(database) as hung:
        hung.execute("SET application_name = 'rowcast dead'")
        hung.execute("LISTEN rowcast")
        roll = await asyncio.to_thread(call, config, 1.0)
    assert {one.name: one.status is None for one in roll.instances}["dead"] is True


async def test_instances_of_another_schema_are_not_ours(
    config: Config, instances: list[Running]
) -> None:
    roll = await asyncio.to_thread(call, replace(config, schema="elsewhere"), 1.0)
    assert roll.instances == ()


async def test_where_there_is_no_database_it_says_so(config: Config) -> None:
    nowhere = "postgresql://app:hush@127.0.0.1:1/app"
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1") as caught:
        await asyncio.to_thread(call, replace(config, listen=nowhere))
    assert "hush" not in str(caught.value)


async def test_the_command(database: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    (tmp_path / "config.yaml").write_text(f"tables:\n{TABLES}")
    rowcast = Rowcast(tmp_path, database)
    none = await rowcast.run("status")
    assert (none.status, "no instance" in none.out) == (3, True)
    await rowcast.migrate()
    async with rowcast.serving() as serving:
        done = await rowcast.run("status", "--json")
        assert done.status == 0, done.out + done.err
        (one,) = json.loads(done.out)["instances"]
        assert one["status"]["pid"] == serving.process.pid
        shown = await rowcast.run("status")
        assert shown.status == 0
        for part in (one["name"], str(serving.process.pid), "READY", "yes", "NOTIFY queue"):
            assert part in shown.out
        asked = await rowcast.run("status", "--url", serving.address)
        assert (asked.status, one["name"] in asked.out) == (0, True)
    gone = await rowcast.run("status", "--url", serving.address)
    assert gone.status == 1
    assert serving.address in gone.err


async def test_what_is_no_bridge_is_told_from_one(config: Config) -> None:
    with pytest.raises(BridgeError, match="not an address"):
        await asyncio.to_thread(fetch, "file:///etc/passwd", None)
