"""Somebody with a good token, or a role in the database, who wants another tenant's rows.

Each test is one kind of attempt, by every transport. Every row of the others says so, and
every byte that the attacker got is searched for it.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.cursor import of_moment, of_place
from bridge.topics import encode
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from tests.support.bridges import Running

TABLES = """
CREATE TABLE docs (id int PRIMARY KEY, tenant text NOT NULL, body text);
INSERT INTO docs VALUES (1, 'a', 'of-a'), (2, 'b', 'secret-of-b'), (3, 'docs', 'secret-of-docs');
CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text, body text);
INSERT INTO visits (tenant, body) VALUES ('a', 'of-a'), ('b', 'secret-of-b');
CREATE TYPE mood AS ENUM ('ok');
CREATE TABLE odd (
    id int PRIMARY KEY, padded char(8), number numeric, whole int, ref uuid, day date,
    at timestamptz, mood mood, yes bool, name text, any_case text, body text);
INSERT INTO odd VALUES (
    1, 'ab', 7, 7, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-01-02', '2026-01-02 03:04:05Z',
    'ok', true, 'é', 'Ab', 'secret-of-b');
"""
CONFIG = """
  docs:
    columns: all
    topics: [docs, "docs/{id}", "tenants/{tenant}/docs", "tenants/docs/docs/{id}"]
  visits:
    mode: log
    position: id
    columns: all
    topics: [visits, "tenants/{tenant}/visits"]
  odd:
    columns: all
    topics:
      - "odd/padded/{padded}"
      - "odd/number/{number}"
      - "odd/whole/{whole}"
      - "odd/ref/{ref}"
      - "odd/day/{day}"
      - "odd/at/{at}"
      - "odd/mood/{mood}"
      - "odd/yes/{yes}"
      - "odd/name/{name}"
      - "odd/any_case/{any_case}"
"""
AUTH = json.dumps(
    {
        "jwt": {"secret": SECRET},
        "allow": [{"topic": "tenants/{claims.tenant}/**"}, {"topic": "odd/*/{claims.odd}"}],
    }
)


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(TABLES)
    config = configure(database, CONFIG, auth=AUTH, limits="{subscriptions: 1000}")
    async with running(config) as bridge:
        yield bridge


async def tries(bridge: Running, topics: Sequence[str], **claims: Any) -> bytes:
    """Everything that these topics answer to these claims, by every transport."""
    text = token(**claims)
    one_by_one = [state(bridge, topic, text) for topic in topics]
    parts = [websocket(bridge, topics, text), stream(bridge, topics, text), *one_by_one]
    return b"\n".join(await asyncio.gather(*parts))


async def websocket(bridge: Running, topics: Iterable[str], text: str) -> bytes:
    got = []
    async with asyncio.timeout(PATIENCE), connect(f"{bridge.url}?token={text}") as connection:
        for topic in topics:
            await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
            await connection.send(
                json.dumps({"type": "subscribe", "topic": topic, "since": "start"})
            )
        await connection.send(json.dumps({"type": "subscribe", "topic": "the/end"}))
        while not (got and b"the/end" in got[-1]):
            got.append(await connection.recv(decode=False))
        await quiet(bridge)
        await connection.send(json.dumps({"type": "ping"}))
        while b"pong" not in got[-1]:
            got.append(await connection.recv(decode=False))
    return b"\n".join(got)


async def quiet(bridge: Running) -> None:
    """Whoever waits for a snapshot or an event has it."""
    hub = bridge.bridge.hub
    async with asyncio.timeout(PATIENCE):
        while any(not s.level for m in hub.mailboxes for s in m.subscriptions.values()) or any(
            not s.live for of in hub.streams._of.values() for s in of.values()
        ):
            await asyncio.sleep(0.01)


async def stream(bridge: Running, topics: Iterable[str], text: str) -> bytes:
    url = urlsplit(bridge.http)
    fits = [topic for topic in topics if len(topic) < 500 and not _surrogate(topic)]
    query = "&".join(f"topic={quote(topic)}" for topic in fits)[:7000]
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**22)
    writer.write(f"GET /sse?token={text}&{query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
    got = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " in got:
        got += await reader.readuntil(b"welcome")
        await quiet(bridge)
    writer.write_eof()
    got += await reader.read()
    writer.close()
    return got


def _surrogate(topic: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in topic)


async def state(bridge: Running, topic: str, text: str) -> bytes:
    path = "".join(c if "!" <= c <= "~" else quote(c, errors="replace") for c in topic)
    bearer = {"Authorization": f"Bearer {text}", "If-None-Match": "*"}
    answers = [
        await http.get(bridge.http, f"/state/{path}", **headers)
        for headers in (bearer, bearer | {"If-None-Match": 'W/"x"'})
        if len(path) < 4000
    ]
    return b"\n".join(str(a.headers).encode() + a.body for a in answers)


ELSEWHERE = [
    *("docs", "docs/2", "docs/3", "visits", "tenants/b/docs", "tenants/b/visits"),
    *("tenants/a/../b/docs", "tenants/a%2F..%2Fb/docs", "tenants/a%2f..%2fb/docs"),
    *("tenants/%62/docs", "tenants/a/docs/../../b/docs", "tenants/a%00/docs", "tenants/b%00/docs"),
    *("tenants//docs", "tenants/a/docs/", "/tenants/b/docs", "tenants/b/docs/", "//tenants/b/docs"),
    *("tenants/B/docs", "TENANTS/b/docs", "tenants/a,b/docs", "tenants/a b/docs"),
    "tenants/a;b/docs",
    *("tenants/*/docs", "tenants/**", "**", "*", "tenants/*/*", "tenants/_/docs"),
    "tenants/%25/docs",
    *("tenants/{tenant}/docs", "tenants/{claims.tenant}/docs", "tenants/'%20OR%20true--/docs"),
    *("tenants/b/docs?x=tenants/a/docs", "tenants/b/docs#tenants/a/docs", "tenants\\b\\docs"),
    *("tenants/b\0/docs", "tenants/b\ud800/docs", "tenants/b\u200b/docs", "tenants/b\r\n/docs"),
    *("tenants/\u1d47/docs", "tenants/\uff42/docs", "tenants/docs/docs/3", "a/docs", "b"),
    *(f"tenants/{'a/' * 300}b/docs", f"{'../' * 50}tenants/b/docs"),
    "tenants/a/docs\ttenants/b/docs",
]  # fmt: skip


async def test_topics_that_are_spelled_so_as_to_mean_anothers(bridge: Running) -> None:
    got = await tries(
        bridge, [*ELSEWHERE, "tenants/a/docs", "tenants/a/visits"], tenant="a", sub="a"
    )
    assert b"secret" not in got
    assert got.count(b"of-a") > 3, "what is allowed is there"


SHAPES: list[Any] = [
    *("**", "*", "", " ", "..", ".", "b ", " b", "B", "%62", "b%00", "b/", "a/../b", "b/docs"),
    *("{tenant}", "{claims.tenant}", "docs", "docs/docs", "visits", "_", "%", "b' OR true --"),
    *(0, 1, -1, 2**70, 1.5, 1e300, True, False, [], {}, [[]], [["b"]], {"tenant": "b"}),
    [{"b": "b"}],
    *(["*", "**", ""], {"b": True}, ["a", ["b"]], "\ud800", "b\ud800", "ｂ", "b\u0301", "b\u200b"),
]  # fmt: skip


async def test_claims_that_are_shaped_so_as_to_mean_anothers(bridge: Running) -> None:
    topics = [
        "docs",
        "docs/2",
        "visits",
        "tenants/b/docs",
        "tenants/b/visits",
        "tenants/docs/docs/3",
    ]
    for shape in SHAPES:
        # Where the claim names a literal of a template, or the other way round.
        names = (
            [f"tenants/{encode(shape)}/docs"] if isinstance(shape, str) and _clean(shape) else []
        )
        given = tries(bridge, [*topics, *names], tenant=shape, claims=shape, **{"tenant.x": "b"})
        found = await given
        if shape == "docs":  # is a tenant, too
            assert b"secret-of-b" not in found
        else:
            assert b"secret" not in found, shape
    listed = await tries(bridge, topics, tenant=["a", "b"])
    assert b"secret-of-b" in listed, "it can be found where it is allowed"


def _clean(text: str) -> bool:
    return not _surrogate(text)


ODD = {
    "padded": ["ab ", "ab      ", "ab%20", "AB", " ab"],
    "number": ["7.0", "07", "+7", "7e0", "7.", " 7", "0x7", "7_0", "\uff17", "0b111", "70e-1"],
    "whole": ["07", "+7", " 7", "7 ", "0x7", "0o7", "0b111", "7_", "\u0667", "7.0", "-7"],
    "ref": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"],
    "day": ["2026-1-2", "20260102", "January 2, 2026", "2026-01-02 BC", "2026-01-02 00:00"],
    "at": ["2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05+00"],
    "mood": ["OK", " ok", "ok "],
    "yes": ["t", "T", "TRUE", "yes", "on", "1", "tru"],
    "name": ["e\u0301", "\u00c9", "e", "\u00e9 "],
    "any_case": ["ab", "AB", "aB"],
}  # fmt: skip
TRULY = {"padded": "ab", "number": "7", "whole": "7", "mood": "ok", "yes": "true", "name": "é"}


async def test_values_that_postgresql_takes_for_anothers(bridge: Running) -> None:
    for column, spellings in ODD.items():
        topics = [f"odd/{column}/{encode(text)}" for text in spellings]
        assert b"secret" not in await tries(bridge, topics, odd=spellings), column
    right = [f"odd/{column}/{encode(text)}" for column, text in TRULY.items()]
    found = await tries(bridge, right, odd=list(TRULY.values()))
    assert found.count(b"secret") >= 3 * len(TRULY) - 3, "each is found by its one spelling"


async def test_answers_do_not_tell_what_there_is(bridge: Running) -> None:
    """Of what is not allowed: not by code, message, headers, or which topics there are."""
    there = ["docs/2", "tenants/b/docs", "tenants/b/visits", "visits", "docs"]
    missing = ["docs/9", "tenants/z/docs", "tenants/z/visits", "nothing", "no/such/kind/of/topic"]
    text = token(tenant="a")
    for way in (_told_by_state, _told_by_stream, _told_by_websocket):
        answers = {re.sub(rb"\d{3,}", b"", await way(bridge, t, text)) for t in (*there, *missing)}
        assert len(answers) == 1, answers
        assert b"does not allow" in answers.pop()


async def _told_by_state(bridge: Running, topic: str, text: str) -> bytes:
    return (await state(bridge, topic, text)).replace(topic.encode(), b"")


async def _told_by_stream(bridge: Running, topic: str, text: str) -> bytes:
    return (await stream(bridge, [topic], text)).replace(topic.encode(), b"")


async def _told_by_websocket(bridge: Running, topic: str, text: str) -> bytes:
    async with connect(f"{bridge.url}?token={text}") as connection:
        await connection.recv()
        await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
        return (await connection.recv(decode=False)).replace(topic.encode(), b"")


QUOTED = """
UPDATE docs SET body = '5' WHERE id = 1;
CREATE VIEW doc_pages AS SELECT id, tenant, body FROM docs WHERE (body || '-quoted')::int > id;
"""
PAGES = """
  pages:
    table: docs
    document: doc_pages
    columns: all
    topics: ["tenants/{tenant}/pages", "pages/{id}"]
  numbers:
    table: docs
    columns: all
    where: body::int > 0
    topics: ["tenants/{tenant}/numbers"]
"""


async def test_an_error_does_not_quote_a_row(database: str, admin: psycopg.Connection) -> None:
    """A view or a condition fails at another's row; what PostgreSQL says has the value in it."""
    admin.execute(TABLES + QUOTED)
    auth = AUTH.replace("tenants/{claims.tenant}/**", "**")
    async with running(configure(database, CONFIG + PAGES, auth=auth)) as bridge:
        topics = ["tenants/a/pages", "pages/1", "pages/x", "tenants/a/numbers"]
        got = await tries(bridge, topics, sub="a")
        admin.execute('SELECT pg_notify(\'rowcast\', \'{"t":"pages","o":"*"}\')')
        got += await tries(bridge, topics, sub="a")
        for path in ("/readyz", "/metrics", "/inspector/status", "/inspector/topics", "/"):
            got += (await http.get(bridge.http, path, Authorization=f"Bearer {token()}")).body
    assert b"secret" not in got
    assert b'invalid input syntax for type integer: \\"x\\"' in got, "one's own value is"


FORGED = """
SELECT pg_notify('rowcast', '{"t":"docs","o":"u","k":[["' || id || '","b"],["' || id || '","a"]]}'),
       pg_notify('rowcast', '{"t":"docs","o":"d","k":[["' || id || '","a"]]}'),
       pg_notify('rowcast', '{"t":"docs","o":"i","k":[["' || id || '"]]}')
FROM generate_series(1, 5) AS id
"""


async def test_false_notifications_move_no_row(
    bridge: Running, database: str, admin: psycopg.Connection
) -> None:
    """Old values that nobody had: no row is shown to whom they name, or taken from whose it is."""
    got: list[bytes] = []
    async with connect(f"{bridge.url}?token={token(tenant='a')}") as connection:
        await connection.send(json.dumps({"type": "subscribe", "topic": "tenants/a/docs"}))
        for n in range(30):
            admin.execute(FORGED)
            again = {"type": "subscribe", "topic": "tenants/a/docs", "id": n}
            await connection.send(json.dumps(again))
        admin.execute("UPDATE docs SET body = 'of-a, the end' WHERE id = 1")
        async with asyncio.timeout(PATIENCE):
            while not (got and b"the end" in got[-1]):
                got.append(await connection.recv(decode=False))
    received = [json.loads(message) for message in got]
    assert b"secret" not in b"".join(got)
    assert received[-1].get("op") in ("insert", "update", None)
    held = [m for m in received if m["type"] == "snapshot"]
    assert all([e["key"]["id"] for e in m["rows"]] == [1] for m in held)
    # A key that somebody sent us may be deleted before the eyes of who waits, and nothing else.
    assert not [m for m in received if m.get("op") == "delete" and m["key"]["id"] == 1]


HISTORY = """
INSERT INTO docs SELECT 700000 + n, 'b', 'secret-of-b' FROM generate_series(1, 5) n;
UPDATE docs SET body = body || '.' WHERE tenant = 'b';
DELETE FROM docs WHERE id = 700001;
UPDATE docs SET tenant = 'c' WHERE id = 700002;
UPDATE docs SET id = 700009 WHERE id = 700003;
INSERT INTO visits (tenant, body) VALUES ('b', 'secret-of-b'), ('a', 'of-a');
"""


async def test_cursors_that_are_made_up(database: str, admin: psycopg.Connection) -> None:
    """They are not signed: whoever makes one for a topic of his own resumes his own topic."""
    admin.execute(TABLES)
    config = configure(
        database, CONFIG.replace("  docs:\n", "  docs:\n    durable: true\n"), auth=AUTH
    )
    async with running(config) as bridge:
        theirs = f"{bridge.url}?token={token(tenant='b')}"
        async with connect(theirs) as other:
            await other.send(json.dumps({"type": "subscribe", "topic": "tenants/b/docs"}))
            said = await until(other, lambda m: m["type"] == "snapshot")
            admin.execute(HISTORY)
            moment, given = said["cursor"], said["cursor"].split(".")
            forged = [moment, *_made_up(given, bridge)]
            topics = ("tenants/a/docs", "tenants/a/visits", "tenants/b/docs")
            got = [await resumed(bridge, t, since) for since in forged for t in topics]
    everything = b"\n".join(got)
    assert b"secret" not in everything
    assert b'"id":70000' not in everything
    assert b'"resumed":true' in everything, "some of them are good, for what is one's own"


def _made_up(given: list[str], bridge: Running) -> list[Any]:
    """Of the beginning of time, for topics of both tenants, and places in the log."""
    hub = bridge.bridge.hub
    log = hub.streams.identity
    assert hub.identity is not None
    early = of_moment(hub.identity, "tenants/a/docs", _moment(3))
    late = of_moment(hub.identity, "tenants/a/docs", _moment(2**62))
    places = [of_place(log, "tenants/a/visits", place) for place in _places()]
    spliced = ".".join([*given[:2], "0" * 8, *given[3:]])
    return [early, late, spliced, ".".join(given[:-3]), *places, "start", {"position": -1}]


def _moment(xid: int) -> Any:
    from bridge.cursor import Moment

    return Moment(xid, xid)


def _places() -> list[Any]:
    from bridge.cursor import Place

    return [Place(0), Place(0, ()), Place(0, ("0", "0")), Place(0, (), "-1", 2**40), Place(2**50)]


async def resumed(bridge: Running, topic: str, since: Any) -> bytes:
    got: list[bytes] = []
    async with connect(f"{bridge.url}?token={token(tenant='a')}") as connection:
        await connection.send(json.dumps({"type": "subscribe", "topic": topic, "since": since}))
        await connection.send(json.dumps({"type": "ping"}))
        await until(connection, lambda m: m["type"] == "pong", got)
        await quiet(bridge)
        await connection.send(json.dumps({"type": "ping"}))
        await until(connection, lambda m: m["type"] == "pong", got)
    return b"\n".join(got)


async def until(
    connection: Any, met: Callable[[dict[str, Any]], bool], got: list[bytes] | None = None
) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = await connection.recv(decode=False)
            if got is not None:
                got.append(frame)
            if met(message := json.loads(frame)):
                return message


async def test_other_claims_between_the_question_and_the_answer(
    bridge: Running, database: str, admin: psycopg.Connection
) -> None:
    """What is being read for the old token is not sent to the new one."""
    async with (
        await psycopg.AsyncConnection.connect(database) as locking,
        connect(f"{bridge.url}?token={token(tenant='b', sub='u')}") as connection,
    ):
        await locking.execute("LOCK docs IN ACCESS EXCLUSIVE MODE")
        for topic in ("tenants/b/docs", "tenants/a/docs"):
            await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
        await until(connection, lambda m: m.get("code") == "forbidden")
        async with asyncio.timeout(PATIENCE):
            waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'docs'::regclass"
            while admin.execute(waiting).fetchone() is None:
                await asyncio.sleep(0.01)
        renewed = token(tenant="a", sub="u")
        await connection.send(json.dumps({"type": "auth", "token": renewed}))
        got: list[bytes] = []
        await until(connection, lambda m: m.get("topic") == "tenants/b/docs", got)
        await locking.rollback()
        await connection.send(json.dumps({"type": "subscribe", "topic": "tenants/a/docs"}))
        await until(connection, lambda m: m["type"] == "snapshot", got)
        await quiet(bridge)
        admin.execute("UPDATE docs SET body = 'secret-of-b, again' WHERE id = 2")
        admin.execute("UPDATE docs SET body = 'of-a, the end' WHERE id = 1")
        await until(connection, lambda m: "the end" in json.dumps(m), got)
    assert b"secret" not in b"".join(got)


async def test_another_user_by_refresh(bridge: Running) -> None:
    async with connect(f"{bridge.url}?token={token(tenant='a', sub='a')}") as connection:
        await connection.send(json.dumps({"type": "auth", "token": token(tenant="b", sub="b")}))
        with pytest.raises(ConnectionClosed) as closed:
            await until(connection, lambda _: False)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4500


async def test_paths_that_a_proxy_would_take_for_others(bridge: Running) -> None:
    """What is kept from people by path is not to be had by another spelling of the path."""
    for path in ("//x/metrics", "//metrics", "/met\trics", "/%6detrics", "/metrics/", "/./metrics",
                 "/x/../metrics", "/metrics;x", "/METRICS", "/metrics%00", "/metrics#x",
                 "//x/inspector/topics", "\\metrics"):  # fmt: skip
        assert (await http.get(bridge.http, path)).status in (400, 404), path
    assert (await http.get(bridge.http, "http://any.example/metrics?x")).status == 200


async def test_a_foreign_name_for_this_machine_sees_no_inspector(
    database: str, admin: psycopg.Connection
) -> None:
    """A page whose name is made to resolve to 127.0.0.1 is of our origin, to its browser."""
    admin.execute(TABLES)
    async with running(configure(database, CONFIG)) as bridge:
        bridge.bridge.health.fail("secret", "a reason with names in it")
        port = urlsplit(bridge.http).port
        for path in (
            "/",
            "/inspector/status",
            "/inspector/topics",
            "/inspector/why?table=docs&key=2",
        ):
            assert (await _named(bridge, path, f"evil.example:{port}")).startswith(b"HTTP/1.1 403")
            assert (await _named(bridge, path, f"localhost:{port}")).startswith(b"HTTP/1.1 200")
        assert b"names" not in await _named(bridge, "/readyz", f"evil.example:{port}")
        assert b"names" in await _named(bridge, "/readyz", f"127.0.0.1:{port}")


async def _named(bridge: Running, path: str, host: str) -> bytes:
    url = urlsplit(bridge.http)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_what_is_kept_by_a_cache_is_for_one_reader(bridge: Running) -> None:
    path, text = "/state/tenants/a/docs", token(tenant="a")
    answer = await http.get(bridge.http, path, Authorization=f"Bearer {text}")
    assert answer.headers["cache-control"] == "private, no-cache"
    tag = answer.headers["etag"]
    other = {"Authorization": f"Bearer {token(tenant='b')}", "If-None-Match": tag}
    refused = await http.get(bridge.http, path, **other)
    assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
    assert "etag" not in refused.headers
    mine = await http.get(bridge.http, "/state/tenants/b/docs", **other)
    assert mine.status == 200, "a tag is of one topic"
