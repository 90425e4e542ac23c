"""The Python client on a real bridge: rows that stay right, whatever happens to the line."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import signal
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bridge.backoff import Backoff
from bridge.client import Change, Changed, Client, Lost, Refused, Replica, Snapshot, Subscribed
from bridge.errors import BridgeError
from tests.support import PATIENCE
from tests.support.bridges import configure, running, staying
from tests.support.commands import Rowcast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import psycopg

    from tests.support.bridges import Running

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, status text, price numeric);
INSERT INTO orders VALUES (1, 'placed', 12.50), (2, 'paid', 3);
CREATE TABLE lines (order_id int, line int, n int, PRIMARY KEY (order_id, line));
INSERT INTO lines VALUES (1, 1, 0), (1, 2, 0);
"""
CONFIG = "  orders:\n  lines:\n"

quick = partial(Client, backoff=lambda: Backoff(first=0.02, cap=0.2))


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{snapshot_rows: 50}")) as bridge:
        yield bridge


@pytest.fixture
async def client(bridge: Running) -> AsyncIterator[Client]:
    async with asyncio.timeout(PATIENCE), quick(bridge.http) as client:
        yield client


async def test_messages_are_typed(client: Client, admin: psycopg.Connection) -> None:
    messages = client.follow("orders/1", "lines")
    got = [await anext(messages) for _ in range(4)]
    assert sorted(m.topic for m in got if isinstance(m, Subscribed)) == ["lines", "orders/1"]
    (snapshot,) = (m for m in got if isinstance(m, Snapshot) and m.topic == "orders/1")
    assert snapshot.rows[0].row == {"id": 1, "status": "placed", "price": Decimal("12.50")}
    admin.execute("DELETE FROM orders WHERE id = 1")
    change = await anext(messages)
    assert isinstance(change, Change)
    assert (change.topic, change.op, change.key, change.row) == (
        "orders/1",
        "delete",
        {"id": 1},
        None,
    )
    assert change.version > snapshot.version


async def test_a_replica_is_the_table(client: Client, admin: psycopg.Connection) -> None:
    orders = await client.state("orders")
    assert orders.status == "live"
    assert dict(orders) == selected(admin)
    admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1; DELETE FROM orders WHERE id = 2")
    admin.execute("INSERT INTO orders VALUES (3, 'new', 1)")
    await orders.until(lambda orders: dict(orders) == selected(admin))
    assert orders[1]["status"] == "sent"
    assert 2 not in orders
    lines = await client.state("lines")
    assert lines[{"order_id": 1, "line": 2}]["n"] == 0
    assert {"order_id": 1, "line": 3} not in lines
    assert set(lines) == {(1, 1), (2, 1)}


def selected(connection: psycopg.Connection) -> dict[Any, dict[str, Any]]:
    found = connection.execute("SELECT id, to_jsonb(o)::text FROM orders o").fetchall()
    return {key: json.loads(row, parse_float=Decimal) for key, row in found}


async def test_what_changes_can_be_listened_to(client: Client, admin: psycopg.Connection) -> None:
    orders = await client.state("orders")
    changes = aiter(orders)
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
    assert await first == Changed(1, {"id": 1, "status": "sent", "price": Decimal("12.50")})
    # The client of a snapshot is told only of what is different in it.
    admin.execute("TRUNCATE orders")
    assert {await anext(changes), await anext(changes)} == {Changed(1, None), Changed(2, None)}


async def test_a_topic_that_is_refused(client: Client, admin: psycopg.Connection) -> None:
    with pytest.raises(BridgeError, match="nothing: no such topic"):
        await client.state("nothing")
    messages = client.follow("nothing", "orders/x", "orders/1")
    refused = {m.topic async for m in _until_snapshot(messages) if isinstance(m, Refused)}
    assert "nothing" in refused
    orders = await client.state("orders")
    admin.execute("INSERT INTO orders SELECT n, 'x' FROM generate_series(10, 99) n")
    admin.execute("TRUNCATE lines")
    admin.execute("UPDATE orders SET status = 'y'")
    await orders.until(lambda orders: len(orders) == 92)
    client_of_many = asyncio.ensure_future(client.state("orders"))
    with pytest.raises(BridgeError, match="more than 50 rows"):
        await client_of_many


async def _until_snapshot(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield message
        if isinstance(message, Snapshot):
            return


async def test_it_comes_back_to_a_bridge_that_restarts(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    config = staying(configure(database, CONFIG))
    async with asyncio.timeout(PATIENCE):
        async with running(config) as first:
            client = quick(first.http)
            orders = await client.state("orders")
            changes = aiter(orders)
            listening = asyncio.ensure_future(anext(changes))
            messages = client.follow("orders")
            await anext(messages)
        await orders.until(lambda orders: orders.status == "stale")
        # What is held stays, and is as old as it is.
        assert dict(orders) == selected(admin)
        async for message in messages:
            if isinstance(message, Lost):
                assert "1012" in message.reason
                break
        admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
        async with client, running(config):
            await orders.until(lambda orders: orders.status == "live")
            assert dict(orders) == selected(admin)
            assert (await listening).key == 1
            async for message in messages:
                if isinstance(message, Snapshot):
                    break


async def test_a_bridge_without_its_database_is_stale(
    bridge: Running, client: Client, admin: psycopg.Connection
) -> None:
    orders = await client.state("orders")
    bridge.bridge.hub.stale()
    await orders.until(lambda orders: orders.status == "stale")
    bridge.bridge.hub.resume()
    await orders.until(lambda orders: orders.status == "live")


async def test_leaving_ends_everything(bridge: Running) -> None:
    async with quick(bridge.http) as client:
        orders = await client.state("orders")
        waiting = asyncio.ensure_future(orders.until(lambda _: False))
        messages = client.follow("orders")
        await anext(messages)
        assert bridge.bridge.hub.subscribers == 2
    with pytest.raises(BridgeError, match="the client is closed"):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await anext(messages)
    async with asyncio.timeout(PATIENCE):
        while bridge.bridge.hub.subscribers:
            await asyncio.sleep(0.01)


async def test_leaving_waits_for_nothing_that_nobody_reads() -> None:
    async def flood(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await connection.send('{"type":"pong"}' + " " * 10_000)

    async def visit(url: str) -> None:
        async with quick(url) as client:
            lines = client.lines("orders")
            await anext(lines)

    async with saying(flood) as url:
        visiting = asyncio.create_task(visit(url))
        assert await asyncio.wait({visiting}, timeout=PATIENCE) == ({visiting}, set())


async def test_one_who_gives_up_waiting_leaves_nothing_behind(
    bridge: Running, client: Client, admin: psycopg.Connection
) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE orders")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.state("orders")
    async with asyncio.timeout(PATIENCE):
        while bridge.bridge.hub.subscribers:
            await asyncio.sleep(0.01)


# Against a server that is told what to say.


@asynccontextmanager
async def saying(say: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(say, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("code", [4500, 4503])
async def test_some_ends_are_final(code: int) -> None:
    async def say(connection: ServerConnection) -> None:
        await connection.close(code, "go away")

    async with asyncio.timeout(PATIENCE), saying(say) as address, quick(address) as client:
        with pytest.raises(BridgeError, match=f"{code}.*go away"):
            await anext(client.follow("orders"))
        with pytest.raises(BridgeError, match="go away"):
            await client.state("orders")


@pytest.mark.parametrize(
    ("status", "final"), [(403, True), (404, True), (429, False), (503, False)]
)
async def test_some_refusals_are_final(status: int, final: bool) -> None:
    async def never(_connection: ServerConnection) -> None: ...

    def refuse(connection: ServerConnection, _request: object) -> Any:
        return connection.respond(status, "not you")

    async with (
        asyncio.timeout(PATIENCE),
        serve(never, "127.0.0.1", 0, process_request=refuse) as server,
        quick(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client,
    ):
        messages = client.follow("orders")
        if final:
            with pytest.raises(BridgeError, match=f"{status}: not you"):
                await anext(messages)
        else:
            assert isinstance(await anext(messages), Lost)
            assert isinstance(await anext(messages), Lost)
            await messages.aclose()


async def test_it_resumes_where_it_was() -> None:
    asked: list[Any] = []

    async def say(connection: ServerConnection) -> None:
        asked.append([json.loads(await connection.recv()).get("since") for _ in range(2)])
        page = {"type": "snapshot", "topic": "a", "rows": [], "first": True, "last": True}
        await connection.send(json.dumps(page | {"version": "1", "cursor": f"c{len(asked)}"}))
        await connection.close(1012)

    async with asyncio.timeout(PATIENCE), saying(say) as address, quick(address) as client:
        messages = client.follow("a", "b", since={"b": "given"})
        lost = 0
        async for message in messages:
            lost += isinstance(message, Lost)
            if lost == 2:
                break
        await messages.aclose()
    assert asked == [[None, "given"], ["c1", "given"]]


async def test_a_token_goes_along() -> None:
    got: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def say(connection: ServerConnection) -> None:
        assert connection.request is not None
        got.set_result(connection.request.headers.get("Authorization"))
        await connection.close(4500, "bad token")

    async with (
        asyncio.timeout(PATIENCE),
        saying(say) as address,
        Client(address, "t0ken") as client,
    ):
        with pytest.raises(BridgeError) as caught:
            await client.state("orders")
    assert await got == "Bearer t0ken"
    assert "t0ken" not in str(caught.value)


async def test_an_address_that_is_none_is_named() -> None:
    async with Client("nonsense") as client:
        with pytest.raises(BridgeError, match=r"nonsense.*http://HOST:PORT"):
            await client.state("orders")


# The command.


@pytest.fixture
async def rowcast(database: str, admin: psycopg.Connection, tmp_path: Path) -> Rowcast:
    admin.execute(ORDERS)
    (tmp_path / "config.yaml").write_text(f"tables:\n{CONFIG}")
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    return rowcast


async def test_tail_survives_a_restart_and_ends_quietly(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    async with asyncio.timeout(PATIENCE):
        async with rowcast.serving() as serving:
            port = serving.address.rpartition(":")[2]
            async with rowcast.running("tail", "--url", serving.address, "orders/1") as tail:
                assert tail.stdout is not None
                assert tail.stderr is not None
                line = await _line(tail.stdout, "snapshot")
                # As it was written, to the last nought.
                assert '"price":12.50' in line.replace(": ", ":")
                assert await serving.stop() == 0
                notice = (await tail.stderr.readline()).decode()
                assert "1012" in notice
                assert "trying again in" in notice
                admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
                async with rowcast.running("serve", "--port", port):
                    assert '"sent"' in await _line(tail.stdout, "snapshot")
                    tail.send_signal(signal.SIGINT)
                    _, rest = await tail.communicate()
                    assert tail.returncode == 130
                    assert "Traceback" not in rest.decode()


async def test_tail_sends_since(rowcast: Rowcast) -> None:
    asked: asyncio.Future[dict] = asyncio.get_running_loop().create_future()

    async def say(connection: ServerConnection) -> None:
        asked.set_result(json.loads(await connection.recv()))
        await connection.close(4503, "enough")

    async with asyncio.timeout(PATIENCE), saying(say) as address:
        done = await rowcast.run("tail", "--url", address, "--since", "c1", "orders")
        assert await asked == {"type": "subscribe", "topic": "orders", "since": "c1"}
    assert done.status == 1
    assert "enough" in done.err
    assert "Traceback" not in done.err


async def _line(lines: asyncio.StreamReader, kind: str) -> str:
    while True:
        line = (await lines.readline()).decode()
        if json.loads(line)["type"] == kind:
            return line


def test_the_example_of_the_docs_names_what_there_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    compile(example, "protocol.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    exec(example.partition("\n\n")[0], {})


def test_a_replica_shows_itself() -> None:
    async def shown() -> str:
        return repr(Replica("orders"))

    assert asyncio.run(shown()) == "<Replica of orders: 0 rows, stale>"
