"""Several processes on one port: clients spread, a worker dies, all stop, the config changes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support import PATIENCE, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.commands import Rowcast, Serving

TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, status text); INSERT INTO orders VALUES (1, 'placed');
"""
CONFIG = """
database: ${DATABASE_URL}
debounce: 5ms
server: {workers: 2}
tables:
  orders:
"""
CLIENTS = 24


class Client:
    """Follows `orders`, and comes back when it is cut off; `instance` is who serves it now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.instance = ""
        self.statuses: dict[int, str] = {}
        self.news = asyncio.Event()
        self.codes: list[int | None] = []

    async def run(self) -> None:
        while True:
            with suppress(OSError, InvalidHandshake):
                await self._follow()
            await asyncio.sleep(0.05)

    async def _follow(self) -> None:
        async with connect(self._url) as connection:
            with suppress(ConnectionClosed):
                await connection.send('{"type":"subscribe","topic":"orders"}')
                async for text in connection:
                    self._take(json.loads(text))
            self.codes.append(connection.close_code)
            self.instance = ""

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "welcome":
                self.instance = message["instance"]
            case "snapshot":
                self.statuses = {e["key"]["id"]: e["row"]["status"] for e in message["rows"]}
            case "change":
                self.statuses[message["key"]["id"]] = message["row"]["status"]
        self.news.set()

    async def holds(self, status: str) -> None:
        while not self.instance or self.statuses.get(1) != status:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def clients(serving: Serving) -> AsyncIterator[list[Client]]:
    """So many that no worker is without one, but once in millions of runs."""
    url = serving.address.replace("http", "ws") + "/ws"
    found = [Client(url) for _ in range(CLIENTS)]
    running = [asyncio.create_task(client.run()) for client in found]
    try:
        yield found
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def all_hold(found: list[Client], status: str) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(client.holds(status) for client in found))


async def workers(serving: Serving) -> dict[str, int]:
    """Their pids, in the order in which they were started."""
    children = f"/proc/{serving.process.pid}/task/{serving.process.pid}/children"
    with open(children) as listed:  # noqa: ASYNC230, PTH123
        return {str(n): int(pid) for n, pid in enumerate(listed.read().split(), 1)}


async def samples(serving: Serving, name: str) -> dict[str, float]:
    """By worker, as one of them tells; nothing if that one was on its way out."""
    try:
        _, _, body = await http.get(serving.address, "/metrics")
    except (OSError, IndexError):
        return {}
    families = text_string_to_metric_families(body.decode())
    found = (sample for family in families for sample in family.samples)
    return {s.labels["worker"]: s.value for s in found if s.name == name}


async def until_ready(serving: Serving) -> None:
    async with asyncio.timeout(PATIENCE):
        while list((await samples(serving, "rowcast_ready")).values()) != [1.0, 1.0]:
            await asyncio.sleep(0.05)


async def test_clients_are_spread_and_all_get_everything(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    async with rowcast.serving() as serving, clients(serving) as found:
        await until_ready(serving)
        await all_hold(found, "placed")
        assert len({client.instance for client in found}) == 2
        admin.execute("UPDATE orders SET status = 'paid'")
        await all_hold(found, "paid")
        followed = await samples(serving, "rowcast_subscribers")
        assert (sorted(followed), sum(followed.values())) == (["1", "2"], CLIENTS)
        assert await serving.stop() == 0


async def test_one_that_is_killed_is_replaced_and_its_clients_come_back(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    async with rowcast.serving() as serving, clients(serving) as found:
        await until_ready(serving)
        await all_hold(found, "placed")
        before = {client.instance for client in found}
        os.kill((await workers(serving))["1"], signal.SIGKILL)
        admin.execute("UPDATE orders SET status = 'paid'")
        await all_hold(found, "paid")
        await until_ready(serving)
        assert any(client.codes for client in found), "somebody was served by the one killed"
        assert len(before & {client.instance for client in found}) == 1
        assert await serving.stop() == 0


async def test_one_that_is_told_to_stop_drains_and_is_replaced(
    rowcast: Rowcast, admin: psycopg.Connection
) -> None:
    """A rolling restart by hand, worker by worker."""
    async with rowcast.serving() as serving, clients(serving) as found:
        await until_ready(serving)
        await all_hold(found, "placed")
        served = {client.instance for client in found}
        for pid in (await workers(serving)).values():
            os.kill(pid, signal.SIGTERM)
            await gone(serving, pid)
            await until_ready(serving)
        admin.execute("UPDATE orders SET status = 'paid'")
        await all_hold(found, "paid")
        assert not served & {client.instance for client in found}
        assert {code for client in found for code in client.codes} == {1012}
        assert await serving.stop() == 0


async def gone(serving: Serving, pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while pid in (await workers(serving)).values():
            await asyncio.sleep(0.05)


async def test_all_are_told_to_stop(rowcast: Rowcast) -> None:
    async with rowcast.serving() as serving, clients(serving) as found:
        await all_hold(found, "placed")
        pids = (await workers(serving)).values()
        assert await serving.stop(signal.SIGINT) == 0
        assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []  # noqa: ASYNC240, PTH110


async def test_workers_end_when_nobody_minds_them(rowcast: Rowcast) -> None:
    async with rowcast.serving() as serving:
        pids = list((await workers(serving)).values())
        serving.process.kill()
        async with asyncio.timeout(PATIENCE):
            while [pid for pid in pids if _runs(pid)]:
                await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    """A process that ended and that nobody waited for counts as gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_new_config_is_served_by_all(rowcast: Rowcast, admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY)")
    async with rowcast.serving() as serving:
        await until_ready(serving)
        path = rowcast.directory / "config.yaml"
        path.write_text(path.read_text() + "  items:\n")
        await rowcast.migrate()
        serving.process.send_signal(signal.SIGHUP)
        await all_know(serving, "items")
        os.kill((await workers(serving))["1"], signal.SIGKILL)
        await until_ready(serving)
        await all_know(serving, "items")
        assert await serving.stop() == 0


async def all_know(serving: Serving, topic: str) -> None:
    """Whichever worker a request comes to."""

    async def known(_n: int) -> bool:
        with suppress(OSError, IndexError):
            return (await http.get(serving.address, f"/state/{topic}")).status == 200
        return False

    async with asyncio.timeout(PATIENCE):
        while not all(await asyncio.gather(*map(known, range(CLIENTS)))):
            await asyncio.sleep(0.05)


async def test_a_database_without_the_tables_ends_all(rowcast: Rowcast) -> None:
    path = rowcast.directory / "config.yaml"
    path.write_text(path.read_text() + "  nowhere:\n")
    done = await rowcast.run("serve", "--port", "0")
    assert done.status == 2
    assert "nowhere" in done.err


async def test_a_port_that_is_taken_is_said_once(rowcast: Rowcast) -> None:
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        await stack.enter_async_context(server)
        port = server.sockets[0].getsockname()[1]
        done = await rowcast.run("serve", "--port", str(port))
    assert done.status == 1
    assert done.err.count("cannot listen on 127.0.0.1") == 1
