"""A stop is an orderly thing: subscribers are told to come back, and the process ends with 0."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from tests.support import PATIENCE, http
from tests.support.replica import Streamed, following, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support.commands import Rowcast

TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, status text); INSERT INTO orders VALUES (1, 'placed');
"""
CONFIG = """
database: ${DATABASE_URL}
tables:
  orders:
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_subscribers_are_told_to_come_back(rowcast: Rowcast, number: signal.Signals) -> None:
    async with rowcast.serving() as serving:
        url = serving.address.replace("http", "ws") + "/ws"
        async with connect(url) as connection:
            await connection.send(json.dumps({"type": "subscribe", "topic": "orders"}))
            while json.loads(await connection.recv())["type"] != "snapshot":
                pass
            stopped = asyncio.create_task(serving.stop(number))
            async with asyncio.timeout(PATIENCE):
                await connection.wait_closed()
            assert connection.close_code == 1012
        assert await stopped == 0


async def test_one_who_never_reads_does_not_hold_up_the_stop(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    admin.execute("INSERT INTO orders SELECT n, repeat('x', 20000) FROM generate_series(2, 2000) n")
    async with rowcast.serving() as serving:
        with deaf(serving.address):
            assert await serving.stop() == 0


async def test_a_second_signal_ends_it_at_once(rowcast: Rowcast, admin: psycopg.Connection) -> None:
    """The first is waiting for one who never reads."""
    admin.execute("INSERT INTO orders SELECT n, repeat('x', 20000) FROM generate_series(2, 2000) n")
    async with rowcast.serving() as serving:
        with deaf(serving.address):
            serving.process.send_signal(signal.SIGTERM)
            await refused(serving.address)
            assert await serving.stop() == -signal.SIGTERM


async def test_half_a_request_does_not_hold_up_the_stop(rowcast: Rowcast) -> None:
    (rowcast.directory / "config.yaml").write_text(f"limits: {{handshake: 5m}}{CONFIG}")
    async with rowcast.serving() as serving:
        host, port = serving.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"GET /ws HTTP/1.1\r\nHost: ")
            # One that came later was answered, so this one was accepted.
            assert (await http.get(serving.address, "/healthz")).status == 200
            assert await serving.stop() == 0


async def test_a_database_that_says_nothing_does_not_hold_up_the_stop(rowcast: Rowcast) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/b?sslmode=disable"
        rowcast.environment["DATABASE_URL"] = url
        async with rowcast.serving(ready=False) as serving:
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                assert await serving.stop() == 0


async def test_after_a_kill_subscribers_come_back_and_converge(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    async with rowcast.serving() as serving:
        port = serving.address.rpartition(":")[2]
        async with (
            following(f"{serving.address}/ws".replace("http", "ws", 1), "orders") as replica,
            following(serving.address, "orders", kind=Streamed) as streamed,
        ):
            assert await serving.stop(signal.SIGKILL) == -signal.SIGKILL
            admin.execute("UPDATE orders SET status = 'sent'")
            async with rowcast.serving("--port", port) as again:
                expected = {"orders": rows(admin, "SELECT * FROM orders")}
                await replica.equals(expected)
                await streamed.equals(expected)
                assert replica.regressions == streamed.regressions == []
                assert await again.stop() == 0


async def test_without_a_database_it_serves_and_says_why_it_is_not_ready(
    rowcast: Rowcast,
) -> None:
    rowcast.environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    async with rowcast.serving(ready=False) as serving:
        async with asyncio.timeout(PATIENCE):
            while not any("refused" in reason for reason in await _reasons(serving.address)):
                await asyncio.sleep(0.02)
        assert (await http.get(serving.address, "/healthz")).status == 200
        assert await serving.stop() == 0


async def test_a_config_that_does_not_fit_the_database_ends_with_2(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    admin.execute("ALTER TABLE orders RENAME TO order_")
    done = await rowcast.run("serve", "--port", "0")
    assert done.status == 2
    assert "config.yaml:4:3: tables.orders" in done.err
    assert "order_" in done.err


@contextmanager
def deaf(address: str) -> Iterator[None]:
    """A subscriber of everything who reads no more than that it is one."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(_upgrade(host) + _frame(b'{"type":"subscribe","topic":"orders"}'))
        assert connection.recv(12) == b"HTTP/1.1 101"
        yield


async def refused(address: str) -> None:
    """Until nobody new is taken."""
    async with asyncio.timeout(PATIENCE):
        with suppress(OSError):
            while True:
                await http.get(address, "/healthz")


async def _reasons(address: str) -> list[str]:
    answer = await http.get(address, "/readyz")
    assert answer.status == 503
    return answer.json()["reasons"]


def _upgrade(host: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _frame(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload
