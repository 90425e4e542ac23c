"""What nobody sends by accident: to the port, and into the database's channel.

Each gets its documented answer or the end of its connection. Nothing is logged with a
stack, and somebody who is connected meanwhile notices nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import struct
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import connect

from bridge import delivery
from tests.support import PATIENCE
from tests.support.bridges import configure, running
from tests.support.frames import CLOSE, GROUPS, LIMIT, PONG, close, received
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.pipeline import Bridge
    from tests.support.bridges import Running
    from tests.support.frames import Expected

TABLE = """
CREATE TABLE items (id int PRIMARY KEY, shelf text, n int);
INSERT INTO items SELECT g, 'a', 0 FROM generate_series(1, 5) g;
"""
CONFIG = """
  items: {topics: [items, "items/{id}", "shelves/{shelf}"]}
"""


@pytest.fixture
async def bridge(
    database: str, admin: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Running]:
    admin.execute(TABLE)
    config = configure(
        database, CONFIG, limits=f"{{message: {LIMIT}, command_rate: 1000000, handshake: 500ms}}"
    )
    async with running(config) as bridge, following(bridge.url, "items") as witness:
        await witness.until(lambda: len(witness.held["items"].rows) == 5)
        yield bridge
        admin.execute("UPDATE items SET n = 7")
        expected = rows(admin, "SELECT * FROM items")
        await witness.equals({"items": expected})
        assert not witness.regressions
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def talk(bridge: Running, data: bytes, *, eof: bool = False) -> bytes:
    """What comes back until the other side is through."""
    reader, writer = await asyncio.open_connection(*bridge.address.result(), limit=2**22)
    try:
        writer.write(data)
        if eof:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


async def test_frames(bridge: Running, subtests: pytest.Subtests) -> None:
    tries = [
        (name, b"".join(sent), expected, size)
        for group in GROUPS.values()
        for name, (sent, expected) in group.items()
        for size in dict.fromkeys((len(sent[0]), 1))
        if size > 1 or len(b"".join(sent)) < 200
    ]
    for n in range(0, len(tries), 20):
        some = tries[n : n + 20]
        found = await asyncio.gather(
            *(_frames(bridge, *what) for _, *what in some), return_exceptions=True
        )
        for (name, *_, size), failure in zip(some, found, strict=True):
            with subtests.test(f"{name} in writes of {size}"):
                if failure is not None:
                    raise failure


async def _frames(bridge: Running, sent: bytes, expected: Expected, size: int) -> None:
    """Sent in writes of `size` bytes, up to the hundredth, and then the rest in one."""
    reader, writer = await asyncio.open_connection(*bridge.address.result())
    try:
        writer.write(UPGRADE)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            got = bytearray()
            reading = tasks.create_task(_read(reader, got))
            pieces = [sent[n : n + size] for n in range(0, 100 * size, size)]
            with suppress(ConnectionError):  # it may have heard enough before the end
                for piece in (*pieces, sent[100 * size :]):
                    writer.write(piece)
                    await writer.drain()
            while not isinstance(expected, int) and not _answered(got, expected):
                assert not reading.done(), bytes(got)
                await asyncio.sleep(0.001)
            if not isinstance(expected, int):
                writer.write(close(1000))
    finally:
        writer.close()
    told = received(bytes(got))
    (end,) = [payload for opcode, payload in told if opcode == CLOSE]
    code = struct.unpack("!H", end[:2])[0] if end else 1005
    assert code == (expected if isinstance(expected, int) else 1000)


async def _read(reader: asyncio.StreamReader, got: bytearray) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            got += data


def _answered(got: bytearray, expected: str | list[bytes]) -> bool:
    if isinstance(expected, str):
        return f'"{expected}"'.encode() in got
    return [payload for opcode, payload in received(bytes(got)) if opcode == PONG] == expected


HOST = b"Host: 127.0.0.1\r\n"
REQUESTS: dict[str, tuple[bytes, set[int]]] = {
    "POST": (b"POST /state/items HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", {405}),
    "a body": (b"GET /state/items HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", {0}),
    "chunks": (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {0, 400}),
    "a path that goes up": (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "a path that goes up, encoded": (b"GET /%2e%2e/etc HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "up from state": (b"GET /state/../metrics HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "another host's address": (b"GET http://evil.com/ws HTTP/1.1\r\n" + HOST + b"\r\n", {404, 426}),
    "an address that is none": (b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "no Host": (b"GET /state/items HTTP/1.1\r\n\r\n", {200, 400}),
    "two Hosts": (b"GET /state/items HTTP/1.1\r\n" + HOST * 2 + b"\r\n", {400}),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", {200}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0}),
    "HTTP/9": (b"GET / HTTP/9.9\r\n\r\n", {0}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300, {0}),
    "a long line": (b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n\r\n", {414}),
    "a long header": (b"GET / HTTP/1.1\r\nX: " + b"x" * 8200 + b"\r\n\r\n", {431}),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 129 + b"\r\n", {431}),
    "much in all": (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 4000 + b"\r\n") * 5 + b"\r\n", {431}),
    "a header without a name": (b"GET / HTTP/1.1\r\n: x\r\n\r\n", {0}),
    "a header without a colon": (b"GET / HTTP/1.1\r\nx\r\n\r\n", {0}),
    "a folded header": (b"GET / HTTP/1.1\r\nX: y\r\n z\r\n\r\n", {0}),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", {0}),
    "a NUL": (b"GET /\0 HTTP/1.1\r\n\r\n", {0, 404}),
    "a NUL in a header": (b"GET / HTTP/1.1\r\nX: \0\r\n\r\n", {0}),
    "a line end in Last-Event-ID": (
        b"GET /sse?topic=items&last_event_id=a%0d%0aX:%20y HTTP/1.1\r\n" + HOST + b"\r\n",
        {400},
    ),
    "a long Last-Event-ID": (
        b"GET /sse?topic=items HTTP/1.1\r\n"
        + HOST
        + b"Last-Event-ID: "
        + b"1" * 5000
        + b"\r\n\r\n",
        {400},
    ),
    "topics that are not UTF-8": (b"GET /sse?topic=%ff HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "an upgrade without a key": (UPGRADE.replace(b"Sec-WebSocket-Key", b"X"), {400}),
    "an upgrade with a short key": (UPGRADE.replace(b"MDEyMzQ1Njc4OWFiY2RlZg==", b"eA=="), {400}),
    "an upgrade to an old version": (UPGRADE.replace(b"Version: 13", b"Version: 8"), {400}),
    "an upgrade by POST": (UPGRADE.replace(b"GET", b"POST"), {405}),
    "an odd subprotocol": (
        UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a b\r\n\r\n"),
        {400},
    ),
    "nothing": (b"", {0}),
    "half a request": (b"GET /ws HTTP/1.1\r\nHost:", {0}),
    "a value that is no number": (b"GET /state/items/x HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "a value with a NUL": (b"GET /state/shelves/%00 HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "a value that is SQL": (
        b"GET /state/shelves/'%3B%20DROP%20TABLE%20items%3B-- HTTP/1.1\r\n" + HOST + b"\r\n",
        {200},
    ),
}


async def test_requests(bridge: Running, subtests: pytest.Subtests) -> None:
    for name, (sent, expected) in REQUESTS.items():
        with subtests.test(name):
            await _request(bridge, sent, expected)


async def _request(bridge: Running, sent: bytes, expected: set[int]) -> None:
    """0: the connection is closed without a word."""
    answer = await talk(bridge, sent)
    status = int(answer.split()[1]) if answer else 0
    assert status in expected, answer[:200]
    assert b"Traceback" not in answer
    assert b"X: y" not in answer.partition(b"\r\n\r\n")[0]


async def test_bytes_of_any_kind(bridge: Running) -> None:
    """Sound ones with a few bytes changed, cut or doubled: no answer is a server's error."""
    chance = random.Random(7)
    sound = [sent for sent, _ in REQUESTS.values() if sent]
    frames = [case for group in GROUPS.values() for case in group.values()]
    sound += [UPGRADE + b"".join(sent)[:3000] for sent, _ in frames]
    for _ in range(40):
        mutants = [_mutated(chance, sound) for _ in range(10)]
        answers = await asyncio.gather(*(talk(bridge, data, eof=True) for data in mutants))
        for answer in answers:
            assert not answer.startswith(b"HTTP/1.1 5"), answer[:200]


def _mutated(chance: random.Random, sound: list[bytes]) -> bytes:
    data = bytearray(chance.choice(sound))
    for _ in range(chance.randint(1, 6)):
        at, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        match chance.randrange(4):
            case 0:
                data[at:end] = chance.randbytes(chance.randrange(20))
            case 1:
                data[at:at] = data[at:end]
            case 2:
                data = data[:end] or data
            case _:
                data[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(data)


# The database's channel


HOSTILE = """
SELECT pg_notify('rowcast', CASE n %% 10
    WHEN 0 THEN 'x' || n
    WHEN 1 THEN '{"t":"items","o":"u","k":[["x' || n || '"]]}'
    WHEN 2 THEN '{"t":"items","o":"u","k":[["' || n || '"]]}'
    WHEN 3 THEN '{"t":"items","o":"u","k":[["1","' || n || '","x","y"]]}'
    WHEN 4 THEN '{"t":"nothing' || n || '","o":"*"}'
    WHEN 5 THEN '{"t":"items","o":"d","k":[["' || n %% 5 || '"]],"x":' || n || '}'
    WHEN 6 THEN repeat('[', 600) || n
    WHEN 7 THEN '{"t":"items","o":"i","k":[["1e400"],["' || n || '99999999999"]]}'
    WHEN 8 THEN '{"t":"items","o":"u","k":[["2","' || n || '"]]}'
    ELSE '{"t":"items","o":"*","n":' || n || '}' END)
FROM generate_series(%s::int, %s::int) n
"""


async def test_a_hundred_thousand_false_notifications(
    bridge: Running,
    database: str,
    admin: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "POISON_INTERVAL", math.inf)  # this may take minutes
    role, metrics = sql.Identifier(f"hostile_{uuid4().hex[:8]}"), bridge.bridge.metrics
    admin.execute(sql.SQL("CREATE ROLE {}").format(role))
    try:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            await other.execute(sql.SQL("SET ROLE {}").format(role))
            for start in range(0, 100_000, 5_000):
                await other.execute(HOSTILE, (start, start + 4_999))
                # Not faster than they are read, or it is the machine that is tested.
                while counted(metrics.notifications) < start + 5_000:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE), connect(bridge.url) as late:
            await late.send('{"type":"subscribe","topic":"items/1"}')
            while json.loads(await late.recv())["type"] != "snapshot":
                pass
        await worked_off(bridge.bridge)
    finally:
        admin.execute(sql.SQL("DROP ROLE {}").format(role))
    assert counted(metrics.malformed) >= 30_000
    # Twenty transactions: each is a few batches, and what a batch may cost is bounded.
    assert counted(metrics.reloads) < 500
    assert bridge.bridge.hub.subscribers <= 2
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.count("rows that cannot be read") <= 1
    assert len(said) < 10, said


async def worked_off(bridge: Bridge) -> None:
    """Nothing is dirty, being read, or to be read."""
    async with asyncio.timeout(PATIENCE):
        while any(len(f.keys) or len(f.gaps) or f.taken for f in bridge._flows.values()):
            await asyncio.sleep(0.01)


def counted(counter: object) -> float:
    return float(counter._value.get())  # type: ignore[attr-defined]
