"""A row that moves to another tenant leaves the first one's topics without its new contents.

Two tenants follow all they may, by every transport, while rows move between them, a
thousand times, among other writes and gaps. Every byte that either got is searched for
what it wrote when it was the other's.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
from websockets.asyncio.client import connect

from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.bridges import Running

MOVES = 1000
ROWS = 20

TABLE = """
CREATE TABLE docs (id int PRIMARY KEY, tenant text NOT NULL, shelf text NOT NULL, body text);
INSERT INTO docs SELECT n, 'alpha', 'shelf', 'body-of-alpha' FROM generate_series(1, 20) n;
CREATE TABLE notes (id int PRIMARY KEY, doc int NOT NULL REFERENCES docs, body text);
INSERT INTO notes SELECT n, n, 'a note' FROM generate_series(1, 20) n;
CREATE VIEW doc_pages AS
    SELECT d.id, d.tenant, d.body, (SELECT max(n.body) FROM notes n WHERE n.doc = d.id) AS note
    FROM docs d;
"""
CONFIG = """
  docs:
    columns: all
    topics:
      [docs, "tenants/{tenant}/docs", "tenants/{tenant}/docs/{id}", "shelves/{shelf}/{tenant}"]
  pages:
    table: docs
    document: doc_pages
    columns: all
    topics: ["tenants/{tenant}/pages"]
    debounce: 0ms
    max_wait: 0ms
  notes: {refreshes: pages}
"""
AUTH = (
    f"{{jwt: {{secret: {SECRET}}}, allow: [{{topic: 'tenants/{{claims.tenant}}/**'}},"
    " {topic: 'shelves/*/{claims.tenant}'}]}"
)
ANYTHING = '{"t":"docs","o":"*"}'
TENANTS = ("alpha", "beta")


class Listener:
    """What one tenant got, in whatever way, as bytes; and what it holds by WebSocket."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.got: list[bytes] = []
        self.held: dict[str, dict[int, str]] = {}
        self.token = token(tenant=tenant, sub=tenant)
        self.over = False

    @property
    def topics(self) -> list[str]:
        of = f"tenants/{self.tenant}"
        single = [f"{of}/docs/{n}" for n in range(1, ROWS + 1)]
        return [f"{of}/docs", f"{of}/pages", f"shelves/shelf/{self.tenant}", *single]

    async def websocket(self, url: str) -> None:
        async with connect(url, subprotocols=["rowcast", f"bearer.{self.token}"]) as connection:  # type: ignore[list-item]
            for topic in self.topics:
                await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
            async for frame in connection:
                assert isinstance(frame, str)
                self.got.append(frame.encode())
                self._fold(json.loads(frame))

    def _fold(self, message: dict) -> None:
        held = self.held.setdefault(message.get("topic", ""), {})
        if message["type"] == "snapshot":
            if message["first"]:
                held.clear()
            held.update({entry["key"]["id"]: entry["row"]["body"] for entry in message["rows"]})
        elif message["type"] == "change" and message["row"] is None:
            held.pop(message["key"]["id"], None)
        elif message["type"] == "change":
            held[message["key"]["id"]] = message["row"]["body"]

    async def hopping(self, url: str) -> None:
        """Comes and goes, and so is brought up to date at all sorts of moments."""
        while not self.over:
            async with connect(url, additional_headers=self._headers) as connection:
                for topic in self.topics:
                    await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
                # As many messages as it is, or fewer where nothing moves any more.
                with suppress(TimeoutError):
                    for _ in range(60):
                        frame = await asyncio.wait_for(connection.recv(), 1)
                        self.got.append(frame.encode())  # type: ignore[union-attr]

    async def stream(self, address: str) -> None:
        url = urlsplit(address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        query = "&".join(f"topic={topic}" for topic in self.topics)
        writer.write(
            f"GET /sse?{query}&token={self.token} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
        )
        try:
            while data := await reader.read(2**16):
                self.got.append(data)
        finally:
            writer.close()

    async def states(self, address: str) -> None:
        while not self.over:
            topic = random.choice(self.topics)
            answer = await http.get(address, f"/state/{topic}", **self._headers)
            self.got.append(answer.body)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def holds(self, topic: str) -> dict[int, str]:
        return self.held.get(topic, {})


@asynccontextmanager
async def listening(bridge: Running) -> AsyncIterator[list[Listener]]:
    listeners = [Listener(tenant) for tenant in TENANTS]
    # These connect over and over, and a connection that is cancelled half-way is not closed.
    asking = [
        asyncio.create_task(work)
        for one in listeners
        for work in (one.states(bridge.http), one.hopping(bridge.url))
    ]
    tasks = [
        asyncio.create_task(work)
        for one in listeners
        for work in (
            one.websocket(bridge.url),
            one.stream(bridge.http),
        )
    ]
    try:
        yield listeners
        assert not [task for task in tasks + asking if task.done()], "nobody was sent away"
    finally:
        for one in listeners:
            one.over = True
        await asyncio.gather(*asking)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def move(database: str) -> None:
    """Rows go to and fro; what they hold says whose they are, in the same transaction or before."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        for n in range(MOVES):
            key, tenant = n % ROWS + 1, TENANTS[(n // ROWS + 1) % 2]
            written = f"body-of-{tenant}"
            if n % 3 == 0:
                async with session.transaction():
                    await session.execute("UPDATE docs SET body = NULL WHERE id = %s", [key])
                    await session.execute(
                        "UPDATE docs SET tenant = %s WHERE id = %s", [tenant, key]
                    )
                    await session.execute("UPDATE docs SET body = %s WHERE id = %s", [written, key])
            else:
                await session.execute(
                    "UPDATE docs SET tenant = %s, body = %s WHERE id = %s", [tenant, written, key]
                )
            if n % 7 == 0:
                await session.execute("UPDATE notes SET body = body || '.' WHERE doc = %s", [key])
            if n % 50 == 0:  # an announcement that says nothing but that much was written
                await session.execute("SELECT pg_notify('rowcast', %s)", [ANYTHING])


async def test_nobody_gets_what_a_row_holds_for_the_other(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    settings = {"auth": AUTH, "debounce": "5ms", "max_wait": "20ms", "reconcile": "1s"}
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(running(configure(database, CONFIG, **settings)))
        alpha, beta = await stack.enter_async_context(listening(bridge))
        await move(database)
        # The last thousandth move left every row with one of the two.
        rows = admin.execute("SELECT tenant, id, body FROM docs").fetchall()
        for one in (alpha, beta):
            expected = {key: body for tenant, key, body in rows if tenant == one.tenant}
            await settled(one, f"tenants/{one.tenant}/docs", expected)
            await settled(one, f"tenants/{one.tenant}/pages", expected)
            await settled(one, f"shelves/shelf/{one.tenant}", expected)
    for one, other in ((alpha, beta), (beta, alpha)):
        received = b"".join(one.got)
        assert received.count(f"body-of-{one.tenant}".encode()) > MOVES / 4
        assert f"body-of-{other.tenant}".encode() not in received
        assert f'tenant":"{other.tenant}'.encode() not in received
        assert f"tenants/{other.tenant}".encode() not in received


async def settled(one: Listener, topic: str, expected: dict[int, str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while one.holds(topic) != expected:
            await asyncio.sleep(0.02)
