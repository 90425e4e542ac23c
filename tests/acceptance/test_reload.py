"""SIGHUP: another config is served by the same process, to the same connections."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import PATIENCE, connect, http
from tests.support.commands import Rowcast
from tests.support.listeners import listening
from tests.support.replica import Replica, following, rows
from tests.support.visitor import cursor_of, visiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from tests.support.commands import Serving

TABLES = """
CREATE TABLE kept (id int PRIMARY KEY, n int);
CREATE TABLE changed (id int PRIMARY KEY, n int, secret text);
CREATE TABLE removed (id int PRIMARY KEY, n int);
CREATE TABLE added (id int PRIMARY KEY, n int);
INSERT INTO kept VALUES (1, 0);
INSERT INTO changed VALUES (1, 0, 'secret');
INSERT INTO removed VALUES (1, 0);
INSERT INTO added VALUES (1, 0);
CREATE TABLE paid (id int PRIMARY KEY, n int);
CREATE TABLE sold (id int PRIMARY KEY, n int);
"""
BEFORE = """
tables:
  kept:
  changed:
  removed:
"""
AFTER = """
tables:
  kept:
  changed: {columns: [id, n], debounce: 10ms}
  added:
"""


class Site:
    """A directory with a config file that can be written again."""

    def __init__(self, rowcast: Rowcast) -> None:
        self.rowcast = rowcast
        self.write(BEFORE)

    def write(self, config: str) -> None:
        (self.rowcast.directory / "config.yaml").write_text(config)

    async def migrate(self) -> None:
        await self.rowcast.migrate()


@pytest.fixture
async def site(database: str, admin: psycopg.Connection, tmp_path: Path) -> Site:
    admin.execute(TABLES)
    site = Site(Rowcast(tmp_path, database))
    await site.migrate()
    return site


async def logged(serving: Serving, event: str) -> dict[str, Any]:
    """The next line of the log with this event."""
    assert serving.process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while line := await serving.process.stderr.readline():
            if (entry := json.loads(line))["event"] == event:
                return dict(entry)
    raise AssertionError(f"the log ended before {event!r}")


def heard(replica: Replica, type_: str, topic: str) -> list[dict[str, Any]]:
    return [m for m in replica.messages if m["type"] == type_ and m.get("topic") == topic]


def holds(topic: str, row: dict[str, Any]) -> Callable[[Replica], bool]:
    return lambda replica: list(replica.held[topic].rows.values()) == [row]


async def test_another_config_is_served_to_the_same_connections(
    site: Site, admin: psycopg.Connection
) -> None:
    async with site.rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        async with following(url, "kept", "changed", "changed/1", "removed") as replica:
            site.write(AFTER)
            await site.migrate()
            serving.process.send_signal(signal.SIGHUP)
            assert (await logged(serving, "new config is served"))["tables"] == 3
            await http.until(serving.address, "/readyz", ready=True)
            for topic in ("changed", "changed/1"):
                await replica.until(lambda t=topic: holds(t, {"id": 1, "n": 0})(replica))
                assert len(heard(replica, "subscribed", topic)) == 2
            [error] = heard(replica, "error", "removed")
            assert error["code"] == "unknown_topic"
            assert "another config" in error["message"]
            assert len(heard(replica, "unsubscribed", "removed")) == 1
            admin.execute("UPDATE kept SET n = 1; UPDATE changed SET n = 1, secret = 'more'")
            await replica.until(lambda: holds("kept", {"id": 1, "n": 1})(replica))
            await replica.until(lambda: holds("changed/1", {"id": 1, "n": 1})(replica))
            assert len(heard(replica, "subscribed", "kept")) == 1
            assert [m["type"] for m in replica.messages].count("welcome") == 1
            assert not any(m["type"] == "status" for m in replica.messages)
            assert "more" not in json.dumps(replica.messages)
            assert replica.regressions == []
        async with following(url, "added") as newcomer:
            admin.execute("UPDATE added SET n = 5")
            await newcomer.equals({"added": rows(admin, "SELECT * FROM added")})
        assert await serving.stop() == 0


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (f"{AFTER}  wrong: {{kye: id}}\n", "config.yaml:6:11: tables.wrong.kye"),
        (f"{AFTER}  nowhere:\n", "config.yaml:6:3: tables.nowhere"),
        (f"server: {{port: 1, drain: 1s}}{AFTER}", "config.yaml:1:26: server.drain: cannot change"),
        (f"schema: other{AFTER}", "config.yaml:1:9: schema: cannot change"),
    ],
    ids=["file", "catalog", "server", "schema"],
)
async def test_a_config_that_is_wrong_changes_nothing(
    site: Site, admin: psycopg.Connection, config: str, problem: str
) -> None:
    async with site.rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        async with following(url, "kept", "removed") as replica:
            site.write(config)
            serving.process.send_signal(signal.SIGHUP)
            refused = await logged(serving, "new config refused; the old one stays")
            assert any(p.startswith(problem) for p in refused["problems"]), refused
            admin.execute("UPDATE removed SET n = 7")
            await replica.until(lambda: holds("removed", {"id": 1, "n": 7})(replica))
            site.write(BEFORE)
            serving.process.send_signal(signal.SIGHUP)
            await logged(serving, "new config is served")
            admin.execute("UPDATE kept SET n = 8")
            await replica.until(lambda: holds("kept", {"id": 1, "n": 8})(replica))
            assert [m["type"] for m in replica.messages].count("welcome") == 1
        assert await serving.stop() == 0


DURABLE = "\ntables:\n  kept: {{durable: {kept}}}\n  changed: {{durable: {changed}}}\n"


async def reload(site: Site, serving: Serving, config: str) -> None:
    site.write(config)
    await site.migrate()
    serving.process.send_signal(signal.SIGHUP)
    await logged(serving, "new config is served")
    await http.until(serving.address, "/readyz", ready=True)


async def test_durable_is_switched_on_and_off_under_followers(
    site: Site, admin: psycopg.Connection
) -> None:
    """Who follows what stays durable misses nothing and gets no snapshot."""
    site.write(DURABLE.format(kept="true", changed="false"))
    await site.migrate()
    async with site.rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        at = await cursor_of(url, "kept")
        async with following(url, "kept", "changed") as replica:
            for n, switched in enumerate(("true", "false"), 1):
                replica.messages.clear()
                admin.execute("UPDATE kept SET n = %s", (10 * n,))
                await reload(site, serving, DURABLE.format(kept="true", changed=switched))
                await replica.until(lambda: heard(replica, "snapshot", "changed"))
                [snapshot] = heard(replica, "snapshot", "changed")
                assert ("cursor" in snapshot) == (switched == "true")
                admin.execute("UPDATE kept SET n = %s", (10 * n + 1,))
                admin.execute("UPDATE changed SET n = %s", (n,))
                await replica.until(lambda n=n: holds("kept", {"id": 1, "n": 10 * n + 1})(replica))
                row = {"id": 1, "n": n, "secret": "secret"}
                await replica.until(lambda row=row: holds("changed", row)(replica))
                assert {m["type"] for m in replica.messages if m.get("topic") == "kept"} == {
                    "change"
                }
            assert replica.regressions == []
        async with visiting(url, "kept", at) as visit:
            reply, missed = await visit.begin()
            assert reply["resumed"] is True
            assert [m["row"]["n"] for m in missed] == [21]
        assert await serving.stop() == 0


LOG = "\ntables:\n  paid: {mode: log}\n"


async def test_a_log_is_added_and_removed_beside_another(
    site: Site, admin: psycopg.Connection
) -> None:
    """Every row comes once, also those written while another config begins to be served."""
    site.write(LOG)
    await site.migrate()
    async with site.rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        async with listening(url, "paid") as paid:
            await paid.begun()
            for n, more in enumerate(("  sold: {mode: log}\n", "")):
                admin.execute("INSERT INTO paid VALUES (%s, 0)", (2 * n,))
                site.write(LOG + more)
                await site.migrate()
                serving.process.send_signal(signal.SIGHUP)
                admin.execute("INSERT INTO paid VALUES (%s, 0)", (2 * n + 1,))
                await logged(serving, "new config is served")
                await http.until(serving.address, "/readyz", ready=True)
                await paid.until(2 * n + 2)
                await sold_is_served(url, admin, n) if more else await sold_is_unknown(url)
            assert paid.ids == list(range(4))
            assert len(paid.replies) == 1
            assert [m["type"] for m in paid.others] == ["welcome"]
        assert await serving.stop() == 0


async def sold_is_served(url: str, admin: psycopg.Connection, n: int) -> None:
    async with listening(url, "sold") as sold:
        await sold.begun()
        admin.execute("INSERT INTO sold VALUES (%s, 0)", (n,))
        await sold.until(1)
        assert sold.ids == [n]


async def sold_is_unknown(url: str) -> None:
    async with visiting(url, "sold") as visit:
        await visit.send(type="subscribe", topic="sold")
        assert (await visit.next())["code"] == "unknown_topic"


async def test_a_follower_of_a_log_that_is_removed_is_told(site: Site) -> None:
    site.write(f"{LOG}  sold: {{mode: log}}\n")
    await site.migrate()
    async with site.rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        async with visiting(url, "sold") as visit:
            await visit.begin()
            await reload(site, serving, LOG)
            error, ended = await visit.next(), await visit.next()
            assert (error["type"], error["code"]) == ("error", "unknown_topic")
            assert ended == {"type": "unsubscribed", "topic": "sold"}
        assert await serving.stop() == 0


WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"


async def test_a_stop_does_not_wait_for_a_reload(
    site: Site, database: str, admin: psycopg.Connection
) -> None:
    """The catalog is locked, by a migration say, and what looks into it waits."""
    async with site.rowcast.serving() as serving:
        with connect(database) as migration, migration.transaction():
            migration.execute("LOCK TABLE pg_inherits, pg_depend IN ACCESS EXCLUSIVE MODE")
            serving.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(PATIENCE):
                while admin.execute(WAITING).fetchone() is None:
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(PATIENCE):
                assert await serving.stop() == 0
