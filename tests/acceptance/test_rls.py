"""PostgreSQL's own policies decide who sees which row: each sees what they show, and no byte more.

Every topic is allowed to everybody here, so that nothing but the policies is in the way.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from websockets.asyncio.client import ClientConnection, connect

from bridge import catalog, cursor, migrate, policies
from bridge.config.auth import RlsConfig
from bridge.statements import Statements
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from bridge.config import Config
    from tests.support.bridges import Running

MOVES = 600
SHARED = range(1, 11)
"""Rows that go to and fro; the others stay with one tenant, and their ids are the other's never."""

TABLES = """
CREATE TABLE docs (
    id int PRIMARY KEY, tenant text NOT NULL, hidden bool NOT NULL DEFAULT false, body text);
CREATE TABLE shares (doc int, tenant text);
CREATE FUNCTION claim(name text) RETURNS text LANGUAGE sql STABLE
    RETURN current_setting('request.jwt.claims')::json ->> name;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenants ON docs USING (
    claim('role') = 'admin' OR (tenant = claim('tenant') AND NOT hidden)
    OR EXISTS (SELECT FROM shares s WHERE s.doc = docs.id AND s.tenant = claim('tenant')));
INSERT INTO docs SELECT n, 'alpha', false, 'body-of-alpha' FROM generate_series(1, 10) n;
INSERT INTO docs SELECT 700000 + n, 'alpha', false, 'body-of-alpha' FROM generate_series(1, 5) n;
INSERT INTO docs SELECT 900000 + n, 'beta', false, 'body-of-beta' FROM generate_series(1, 5) n;
"""
CONFIG = """
  docs:
    columns: all
    topics: [docs, "docs/{id}", "tenants/{tenant}/docs"]
    debounce: 5ms
    max_wait: 20ms
"""
ALL = ["docs", *(f"docs/{n}" for n in SHARED), "tenants/alpha/docs", "tenants/beta/docs"]


@pytest.fixture
def role(admin: psycopg.Connection) -> Iterator[str]:
    """One that may read and nothing else, and one that serves; their names need quoting."""
    name = f'App "{uuid4().hex[:8]}'
    roles = {"app": sql.Identifier(name), "serving": sql.Identifier(serving(name))}
    admin.execute(
        sql.SQL("CREATE ROLE {app}; CREATE ROLE {serving} LOGIN NOINHERIT").format(**roles)
    )
    admin.execute(TABLES)
    yield name
    admin.execute(
        sql.SQL("DROP OWNED BY {app}, {serving}; DROP ROLE {app}, {serving}").format(**roles)
    )


def serving(role: str) -> str:
    return f"{role} serves"


def granted(admin: psycopg.Connection, config: Config, role: str) -> None:
    """What is printed for whoever makes the roles, and what the policies themselves read."""
    admin.execute(migrate.grants(config, serving(role)).encode())
    admin.execute(sql.SQL("GRANT SELECT ON shares TO {}").format(sql.Identifier(role)))


@asynccontextmanager
async def guarded(
    database: str, admin: psycopg.Connection, role: str, tables: str = CONFIG, **top: str
) -> AsyncIterator[Running]:
    """Serves as a role that may read nothing itself."""
    auth = {
        "jwt": {"secret": SECRET},
        "allow": [{"topic": "**"}],
        "rls": {"role": role},
    }
    top = {"auth": json.dumps(auth), "reconcile": "0"} | top
    config = configure(database, tables, **top)
    await asyncio.to_thread(migrate.apply, config, progress=lambda _line: None)
    granted(admin, config, role)
    as_serving = make_conninfo(database, user=serving(role))
    async with running(configure(as_serving, tables, **top), migrated=False) as bridge:
        yield bridge


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection, role: str) -> AsyncIterator[Running]:
    async with guarded(database, admin, role) as bridge:
        yield bridge


class Viewer:
    """One connection, what it holds by topic, and every byte it got."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.got: list[bytes] = []
        self.said: list[dict[str, Any]] = []
        self.held: dict[str, dict[int, str]] = {}
        self.cursors: dict[str, str] = {}

    async def send(self, type: str, **fields: object) -> None:  # noqa: A002
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def subscribe(self, *topics: str) -> None:
        """Returns when the answers are there."""
        for topic in topics:
            await self.send("subscribe", topic=topic)
        await self.until(lambda: all(topic in self.held for topic in topics))

    async def refused(self, topic: str, **more: object) -> dict[str, Any]:
        """The error."""
        said = len(self.said)
        await self.send("subscribe", topic=topic, **more)
        await self.until(lambda: len(self.said) > said)
        await self.until(lambda: bool(self.said) and self.said[-1]["type"] == "error")
        return self.said[-1]

    async def read(self) -> None:
        async for frame in self.connection:
            assert isinstance(frame, str)
            self.got.append(frame.encode())
            self._fold(json.loads(frame))

    def _fold(self, message: dict[str, Any]) -> None:
        self.said.append(message)
        if message.get("cursor"):
            self.cursors[message["topic"]] = message["cursor"]
        if message["type"] == "snapshot":
            held = self.held.setdefault(message["topic"], {})
            if message["first"]:
                held.clear()
            held.update({entry["key"]["id"]: entry["row"]["body"] for entry in message["rows"]})
        elif message["type"] == "change" and message["row"] is None:
            # A delete of what was not there would be the name of a row that is not to be known.
            del self.held[message["topic"]][message["key"]["id"]]
        elif message["type"] == "change":
            self.held[message["topic"]][message["key"]["id"]] = message["row"]["body"]

    def ops(self, topic: str) -> list[tuple[str, int]]:
        told = [m for m in self.said if m["type"] == "change" and m["topic"] == topic]
        return [(message["op"], message["key"]["id"]) for message in told]

    def says(self, kind: str) -> bool:
        """Whether the last message is of this type."""
        return bool(self.said) and self.said[-1]["type"] == kind

    def events(self, topic: str) -> list[int]:
        told = [m for m in self.said if m["type"] == "event" and m["topic"] == topic]
        return [message["key"]["id"] for message in told]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def viewing(bridge: Running, **claims: Any) -> AsyncIterator[Viewer]:
    offers: Any = ["rowcast", f"bearer.{token(**claims)}"]
    async with connect(bridge.url, subprotocols=offers) as connection:
        viewer = Viewer(connection)
        reading = asyncio.create_task(viewer.read())
        try:
            yield viewer
            assert not reading.done(), reading.exception()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


# What nobody may see is in no byte.


async def stream(address: str, claims: dict[str, Any], got: list[bytes]) -> None:
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    query = "&".join(f"topic={topic}" for topic in ALL)
    writer.write(
        f"GET /sse?{query}&token={token(**claims)} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
    )
    try:
        while data := await reader.read(2**16):
            got.append(data)
    finally:
        writer.close()


async def states(address: str, claims: dict[str, Any], got: list[bytes]) -> None:
    bearer = {"Authorization": f"Bearer {token(**claims)}"}
    while True:
        answer = await http.get(address, f"/state/{random.choice(ALL)}", **bearer)
        assert answer.status == 200
        got.append(answer.body)


async def hopping(bridge: Running, claims: dict[str, Any], got: list[bytes]) -> None:
    """Comes and goes, and so is brought up to date at all sorts of moments."""
    while True:
        async with viewing(bridge, **claims) as viewer:
            await viewer.subscribe(*ALL)
            seen = len(viewer.got)
            await viewer.until(lambda: len(viewer.got) > seen + 5)  # noqa: B023
        got += viewer.got


@asynccontextmanager
async def listening(bridge: Running, tenant: str) -> AsyncIterator[tuple[Viewer, list[bytes]]]:
    claims = {"tenant": tenant, "sub": tenant}
    got: list[bytes] = []
    works = (stream(bridge.http, claims, got), states(bridge.http, claims, got))
    tasks = [asyncio.create_task(work) for work in (*works, hopping(bridge, claims, got))]
    try:
        async with viewing(bridge, **claims) as viewer:
            await viewer.subscribe(*ALL)
            yield viewer, got
            got += viewer.got
        assert not [task for task in tasks if task.done()], "nobody was sent away"
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def move(database: str) -> None:
    """Rows change hands, and are hidden and shown, in statements of every kind."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        for n in range(MOVES):
            key = random.choice(SHARED)
            tenant = ("alpha", "beta")[n % 2]
            await session.execute(
                "UPDATE docs SET tenant = %s, body = %s WHERE id = %s",
                [tenant, f"body-of-{tenant}", key],
            )
            if n % 3 == 0:
                await session.execute(
                    "UPDATE docs SET hidden = NOT hidden WHERE id = %s", [random.choice(SHARED)]
                )
            if n % 5 == 0:
                await session.execute("UPDATE docs SET body = body || '.' WHERE id > 700000")
            if n % 100 == 0:  # an announcement that says nothing but that much was written
                await session.execute("SELECT pg_notify('rowcast', %s)", ['{"t":"docs","o":"*"}'])


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "as through a pooler"])
async def test_nobody_gets_a_byte_of_a_row_that_policies_hide(
    database: str, admin: psycopg.Connection, role: str, direct: bool
) -> None:
    direct_one = make_conninfo(database, user=serving(role), application_name="direct")
    more = {} if direct else {"listen": json.dumps(direct_one)}
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(
            guarded(database, admin, role, reconcile="500ms", **more)
        )
        alpha, of_alpha = await stack.enter_async_context(listening(bridge, "alpha"))
        beta, of_beta = await stack.enter_async_context(listening(bridge, "beta"))
        chief = await stack.enter_async_context(viewing(bridge, role="admin"))
        await chief.subscribe(*ALL)
        await move(database)
        for viewer, tenant in ((alpha, "alpha"), (beta, "beta"), (chief, None)):
            await settled(admin, viewer, tenant)
    for tenant, got, foreign in (("alpha", of_alpha, "beta"), ("beta", of_beta, "alpha")):
        received = b"".join(got)
        assert received.count(f"body-of-{tenant}".encode()) > MOVES / 4
        assert f"body-of-{foreign}".encode() not in received
        assert f'tenant":"{foreign}'.encode() not in received
        assert f'"id":{7 if foreign == "alpha" else 9}0000'.encode() not in received


async def settled(admin: psycopg.Connection, viewer: Viewer, tenant: str | None) -> None:
    rows = admin.execute("SELECT id, tenant, hidden, body FROM docs").fetchall()
    seen = [row for row in rows if tenant is None or (row[1] == tenant and not row[2])]
    expected = {topic: {} for topic in ALL}
    for key, owner, _, body in seen:
        for topic in ("docs", f"docs/{key}", f"tenants/{owner}/docs"):
            if topic in expected:
                expected[topic][key] = body
    await viewer.until(lambda: viewer.held == expected)


# Row by row.


async def test_a_row_that_stops_being_visible_is_a_delete(
    bridge: Running, admin: psycopg.Connection
) -> None:
    topics = ("docs", "docs/1", "tenants/alpha/docs")
    async with viewing(bridge, tenant="alpha") as alpha, viewing(bridge, role="admin") as chief:
        await alpha.subscribe(*topics)
        await chief.subscribe(*topics)
        admin.execute("UPDATE docs SET hidden = true WHERE id = 1")  # no topic's column
        await alpha.until(lambda: not any(1 in alpha.held[topic] for topic in topics))
        # Read after the next change, it would be what it was, and no news.
        await chief.until(lambda: all(len(chief.ops(topic)) == 1 for topic in topics))
        admin.execute("UPDATE docs SET hidden = false WHERE id = 1")
        await alpha.until(lambda: all(1 in alpha.held[topic] for topic in topics))
        await chief.until(lambda: all(len(chief.ops(topic)) == 2 for topic in topics))
    assert all(alpha.ops(topic) == [("delete", 1), ("insert", 1)] for topic in topics)
    assert all(chief.ops(topic) == [("update", 1), ("update", 1)] for topic in topics)


async def test_nobody_hears_of_a_row_that_was_never_visible(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with viewing(bridge, tenant="alpha") as alpha:
        await alpha.subscribe("docs", "docs/900001", "tenants/beta/docs")
        assert alpha.held["docs/900001"] == alpha.held["tenants/beta/docs"] == {}
        admin.execute("UPDATE docs SET body = 'x' WHERE id = 900001")
        admin.execute("DELETE FROM docs WHERE id = 900002")
        admin.execute("UPDATE docs SET tenant = 'gamma' WHERE id = 900003")
        admin.execute("INSERT INTO docs VALUES (900009, 'beta', false, 'x')")
        admin.execute("UPDATE docs SET body = 'seen' WHERE id = 2")
        await alpha.until(lambda: alpha.held["docs"][2] == "seen")
    assert alpha.ops("docs") == [("update", 2)]
    assert alpha.ops("docs/900001") == alpha.ops("tenants/beta/docs") == []


async def test_those_whose_claims_are_equal_share_what_is_read(bridge: Running) -> None:
    async with AsyncExitStack() as stack:
        views = [
            await stack.enter_async_context(viewing(bridge, tenant=tenant, jti=str(n)))
            for n, tenant in enumerate(["alpha", "alpha", "beta", "gamma"])
        ]
        for view in views:
            await view.subscribe("docs")
        assert bridge.bridge.hub.topics == 3
        assert [len(view.held["docs"]) for view in views] == [15, 15, 5, 0]


async def test_a_token_with_other_claims_shows_other_rows(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with viewing(bridge, sub="u", tenant="alpha") as viewer:
        await viewer.subscribe("docs", "docs/1")
        await viewer.send("auth", token=token(sub="u", tenant="alpha"))  # a mere refresh
        await viewer.send("ping")
        await viewer.until(lambda: viewer.said[-1]["type"] == "pong")
        assert sum(message["type"] == "snapshot" for message in viewer.said) == 2
        await viewer.send("auth", token=token(sub="u", tenant="beta"))
        await viewer.until(lambda: set(viewer.held["docs"]) == set(range(900001, 900006)))
        await viewer.until(lambda: viewer.held["docs/1"] == {})
        admin.execute("UPDATE docs SET body = 'unseen' WHERE id = 1")
        admin.execute("UPDATE docs SET body = 'seen' WHERE id = 900001")
        await viewer.until(lambda: viewer.held["docs"][900001] == "seen")
    assert b"unseen" not in b"".join(viewer.got)


async def test_who_wanted_changes_alone_gets_what_other_claims_show(
    bridge: Running, admin: psycopg.Connection
) -> None:
    """What it may hold as the former viewer has to go, and nothing but a snapshot says so."""
    async with viewing(bridge, sub="u", tenant="alpha") as viewer:
        await viewer.send("subscribe", topic="docs", snapshot=False)
        await viewer.until(lambda: viewer.says("subscribed"))
        viewer.held["docs"] = {}
        admin.execute("UPDATE docs SET body = 'held' WHERE id = 700001")
        await viewer.until(lambda: viewer.held["docs"] == {700001: "held"})
        await viewer.send("auth", token=token(sub="u", tenant="beta"))
        await viewer.until(lambda: set(viewer.held["docs"]) == set(range(900001, 900006)))


async def test_visibility_that_another_table_decides_is_found(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    """No trigger tells: the row itself has not changed."""
    async with (
        guarded(database, admin, role, reconcile="200ms") as bridge,
        viewing(bridge, tenant="alpha") as alpha,
    ):
        await alpha.subscribe("docs", "tenants/beta/docs")
        admin.execute("INSERT INTO shares VALUES (900001, 'alpha')")
        await alpha.until(lambda: 900001 in alpha.held["docs"])
        admin.execute("DELETE FROM shares")
        await alpha.until(lambda: 900001 not in alpha.held["docs"])
        await alpha.until(lambda: alpha.held["tenants/beta/docs"] == {})


async def test_who_comes_back_gets_a_snapshot_and_no_keys(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    async with guarded(database, admin, role, durable="true") as bridge:
        async with viewing(bridge, tenant="alpha") as alpha:
            await alpha.subscribe("docs")
            admin.execute("UPDATE docs SET body = 'x' WHERE id = 1")
            await alpha.until(lambda: alpha.held["docs"][1] == "x")
            (topic,) = bridge.bridge.hub.routes.followed()
            identity = bridge.bridge.hub.identity
            assert topic.moment is not None
            assert identity is not None
            since = cursor.of_moment(identity, "docs", topic.moment)  # as if it had been given one
        assert b"cursor" not in b"".join(alpha.got)
        admin.execute("UPDATE docs SET hidden = true WHERE id = 1")
        async with viewing(bridge, tenant="alpha") as alpha:
            await alpha.send("subscribe", topic="docs", since=since)
            await alpha.until(lambda: len(alpha.held.get("docs", ())) == 14)
    (answer,) = [m for m in alpha.said if m["type"] == "subscribed"]
    assert answer["resumed"] is False


VISITS = """
CREATE TABLE visits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL, body text);
ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION counted() RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN
    IF claim('role') = 'banned' THEN RAISE EXCEPTION 'not you' USING ERRCODE = 'RW042'; END IF;
    RETURN true;
END $$;
CREATE POLICY tenants ON visits USING (
    counted() AND (claim('role') = 'admin' OR tenant = claim('tenant')));
"""
LOGS = (
    CONFIG
    + """
  visits:
    mode: log
    position: id
    columns: all
    where: body <> 'left out'
    topics: [visits, "tenants/{tenant}/visits"]
"""
)


def visit(admin: psycopg.Connection, *tenants: str) -> list[tuple[int]]:
    """A row for each, in one statement; returns the last one's id."""
    insert = "INSERT INTO visits (tenant, body) SELECT t, 'body-of-' || t FROM unnest(%s::text[]) t"
    admin.execute(insert, [list(tenants)])
    return admin.execute("SELECT max(id) FROM visits").fetchall()


async def told(viewer: Viewer, topic: str, *ids: int) -> None:
    await viewer.until(lambda: len(viewer.events(topic)) >= len(ids))
    assert viewer.events(topic) == list(ids)


@asynccontextmanager
async def logged(
    database: str, admin: psycopg.Connection, role: str
) -> AsyncIterator[tuple[Running, Callable[..., Any]]]:
    """Six rows are older than the log; odd ones are alpha's."""
    admin.execute(VISITS)
    visit(admin, *("alpha", "beta") * 3)
    async with guarded(database, admin, role, LOGS) as bridge:
        yield bridge, lambda *tenants: visit(admin, *tenants)


async def test_a_log_has_for_each_the_rows_that_policies_show(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    async with AsyncExitStack() as stack:
        bridge, write = await stack.enter_async_context(logged(database, admin, role))
        alpha = await stack.enter_async_context(viewing(bridge, tenant="alpha"))
        beta = await stack.enter_async_context(viewing(bridge, tenant="beta"))
        chief = await stack.enter_async_context(viewing(bridge, role="admin"))
        for viewer in (alpha, beta, chief):
            await viewer.send("subscribe", topic="visits", since="start")
            await viewer.send("subscribe", topic="tenants/beta/visits", since="start")
        await told(chief, "visits", 1, 2, 3, 4, 5, 6)
        write("alpha", "beta", "beta", "alpha")
        write("beta")
        write("alpha")
        await told(chief, "visits", *range(1, 13))
        await told(alpha, "visits", 1, 3, 5, 7, 10, 12)
        await told(beta, "visits", 2, 4, 6, 8, 9, 11)
        await told(beta, "tenants/beta/visits", 2, 4, 6, 8, 9, 11)
        cursor, theirs = alpha.cursors["visits"], beta.cursors["visits"]
        write("beta", "alpha")
        for since, mine in (
            (cursor, [14]),
            (theirs, [12, 14]),
            ({"position": 4}, [5, 7, 10, 12, 14]),
        ):
            again = await stack.enter_async_context(viewing(bridge, tenant="alpha", n=len(mine)))
            await again.send("subscribe", topic="visits", since=since)
            await again.send("subscribe", topic="tenants/beta/visits", since=since)
            ((last,),) = write("beta", "alpha")
            await again.until(lambda: again.events("visits")[-1:] == [last])  # noqa: B023
            assert again.events("visits")[: len(mine)] == mine
            assert again.events("tenants/beta/visits") == []
            assert b"body-of-beta" not in b"".join(again.got)
        assert alpha.events("tenants/beta/visits") == []
        assert b"body-of-beta" not in b"".join(alpha.got)
        assert b"body-of-alpha" not in b"".join(beta.got)


async def test_a_log_goes_on_from_now_for_other_claims(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    async with (
        logged(database, admin, role) as (bridge, write),
        viewing(bridge, sub="u", tenant="alpha") as viewer,
    ):
        await viewer.send("subscribe", topic="visits", id=7)
        await viewer.until(lambda: viewer.says("subscribed"))
        write("alpha", "beta")
        await told(viewer, "visits", 7)
        await viewer.send("auth", token=token(sub="u", tenant="alpha"))  # a mere refresh
        await viewer.send("auth", token=token(sub="u", tenant="beta"))
        await viewer.until(lambda: viewer.says("subscribed"))
        assert (viewer.said[-1]["resumed"], viewer.said[-1]["id"]) == (False, 7)
        assert sum(message["type"] == "subscribed" for message in viewer.said) == 2
        write("alpha", "beta")
        await told(viewer, "visits", 7, 10)


async def test_a_policy_that_fails_for_some_keeps_no_log_from_the_others(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    """Not a hundred rows at once either, nor where they are read page after page."""
    async with (
        logged(database, admin, role) as (bridge, write),
        viewing(bridge, tenant="alpha") as alpha,
        viewing(bridge, role="banned", tenant="alpha") as banned,
    ):
        for viewer in (alpha, banned):
            await viewer.send("subscribe", topic="visits")
            await viewer.until(lambda: viewer.says("subscribed"))  # noqa: B023
        write(*["alpha"] * 100)
        await told(alpha, "visits", *range(7, 107))
        await banned.until(lambda: banned.says("error"))
        assert banned.said[-1]["code"] == "unavailable"
        assert banned.said[-1]["cursor"]
        assert "a policy fails" in (await banned.refused("visits", since="start"))["message"]
        assert b"body-of" not in b"".join(banned.got)
        assert bridge.bridge.health.ready


FAILING = """
CREATE POLICY numbers ON docs USING (tenant = 'n' AND body::int > claim('number')::int);
INSERT INTO docs VALUES (500000, 'n', false, 'secret-of-another');
"""


async def test_a_policy_that_fails_for_some_tells_them_nothing_and_is_not_tried_for_ever(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    admin.execute(FAILING)
    async with (
        guarded(database, admin, role) as bridge,
        viewing(bridge, role="admin") as chief,
        viewing(bridge, number=1) as unlucky,
    ):
        await chief.subscribe("docs")
        assert "a policy fails" in (await unlucky.refused("docs"))["message"]
        assert b"secret" not in b"".join(unlucky.got)
        admin.execute("UPDATE docs SET body = 'x' WHERE id = 1")
        await chief.until(lambda: chief.held["docs"][1] == "x")
        assert bridge.bridge.health.ready


RAISING = """
CREATE FUNCTION vetted() RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN
    IF claim('role') = 'banned' THEN
        RAISE EXCEPTION 'secret-of-another' USING ERRCODE = 'insufficient_privilege';
    ELSIF claim('role') = 'odd' THEN
        PERFORM FROM shares WHERE false;
        RAISE EXCEPTION 'secret-of-another' USING ERRCODE = 'RW042';
    END IF;
    RETURN true;
END $$;
CREATE POLICY vetted ON docs AS RESTRICTIVE USING (vetted());
"""


async def test_a_policy_that_raises_what_it_likes_makes_nobody_else_wait(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    """It is about who asks, whatever the SQLSTATE, and no fault of the database."""
    admin.execute(RAISING)
    async with (
        guarded(database, admin, role) as bridge,
        viewing(bridge, role="admin") as chief,
        viewing(bridge, role="banned") as banned,
        viewing(bridge, role="odd") as odd,
    ):
        await chief.subscribe("docs")
        for unlucky in (banned, odd):
            assert "a policy fails" in (await unlucky.refused("docs"))["message"]
            assert b"secret" not in b"".join(unlucky.got)
        admin.execute("UPDATE docs SET body = 'x' WHERE id = 1")
        await chief.until(lambda: chief.held["docs"][1] == "x")
        assert bridge.bridge.health.ready


BROKEN = """
CREATE VIEW pages AS SELECT id, body, 1 / (id - 3) AS share FROM docs;
"""


async def test_a_row_that_cannot_be_read_is_left_out_and_policies_still_decide(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    """Such a snapshot is read in another way, row by row."""
    admin.execute(BROKEN)
    tables = CONFIG.replace("columns: all", "columns: all\n    document: pages")
    async with (
        guarded(database, admin, role, tables) as bridge,
        viewing(bridge, tenant="alpha") as alpha,
    ):
        await alpha.subscribe("docs", "tenants/beta/docs")
        assert set(alpha.held["docs"]) == {*SHARED, *range(700001, 700006)} - {3}
        assert alpha.held["tenants/beta/docs"] == {}
    assert b"body-of-beta" not in b"".join(alpha.got)


async def test_without_rights_nothing_is_shown(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    change = sql.SQL("{} SELECT ON docs {} {}")
    async with guarded(database, admin, role) as bridge:
        admin.execute(change.format(sql.SQL("REVOKE"), sql.SQL("FROM"), sql.Identifier(role)))
        async with viewing(bridge, role="admin") as chief:
            await chief.send("subscribe", topic="docs")
            await chief.until(lambda: "snapshot docs" in str(bridge.bridge.health.reasons))
            assert "docs" not in chief.held
            admin.execute(change.format(sql.SQL("GRANT"), sql.SQL("TO"), sql.Identifier(role)))
            await chief.until(lambda: len(chief.held.get("docs", ())) == 20)


def test_indexes_are_used_under_policies(
    database: str, admin: psycopg.Connection, role: str
) -> None:
    """What could tell of hidden rows is not looked up in an index; a value is."""
    config = configure(database, CONFIG)
    migrate.apply(config, progress=lambda _line: None)
    docs = catalog.resolved(admin, config)["docs"]
    (single,) = (t for t in docs.templates if t.columns == ("id",))
    statements = Statements("rowcast", 10, 2**20)
    grant = "GRANT USAGE ON SCHEMA rowcast TO {0}; GRANT SELECT ON docs, shares, {1} TO {0}"
    epoch = sql.Identifier("rowcast", "epoch")
    admin.execute(sql.SQL(grant).format(sql.Identifier(role), epoch))
    admin.execute("INSERT INTO docs SELECT n, 't' FROM generate_series(10000, 30000) n")
    admin.execute("ANALYZE docs")
    with policies.acting(admin, RlsConfig(role)):
        admin.execute("SET LOCAL request.jwt.claims = '{}'")
        for statement in (statements.load(docs), statements.snapshot(docs, single)):
            explaining = psycopg.RawCursor(admin)
            explaining.execute(sql.SQL("EXPLAIN {}").format(statement), [["10001"]])
            plan = "\n".join(line for (line,) in explaining)
            assert "docs_pkey" in plan, plan
