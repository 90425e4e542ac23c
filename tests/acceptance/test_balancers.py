"""Instances behind the load balancers of `deploy/`: one after the other is restarted."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from bridge.demo.ports import free_port
from tests.support import connect, http, workload
from tests.support.balancers import HAPROXY, NGINX, shipped_haproxy, shipped_nginx
from tests.support.replica import Replica, Streamed, following, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import psycopg

    from tests.support.commands import Rowcast, Serving

    Balancer = Callable[[Path, Sequence[str]], AbstractAsyncContextManager[str]]

TABLES, CONFIG = workload.TABLE, f"tables:{workload.CONFIG}"
SQL = {
    "cells": "SELECT * FROM cells",
    "cells/7": "SELECT * FROM cells WHERE id = 7",
    "groups/3/cells": "SELECT * FROM cells WHERE grp = 3",
}


@pytest.fixture(
    params=[
        pytest.param(
            shipped_haproxy,
            marks=pytest.mark.skipif(HAPROXY is None, reason="no HAProxy found"),
            id="haproxy",
        ),
        pytest.param(
            shipped_nginx,
            marks=pytest.mark.skipif(NGINX is None, reason="no nginx found"),
            id="nginx",
        ),
    ]
)
def balancer(request: pytest.FixtureRequest) -> Balancer:
    return request.param  # type: ignore[no-any-return]


class Fleet:
    """Three instances on ports of their own, which they come back to."""

    def __init__(self, rowcast: Rowcast) -> None:
        self._rowcast = rowcast
        self.ports = [free_port() for _ in range(3)]
        self._stacks = [AsyncExitStack() for _ in self.ports]
        self._serving: dict[int, Serving] = {}

    async def __aenter__(self) -> Fleet:
        await asyncio.gather(*map(self.start, range(3)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for stack in self._stacks:
            await stack.aclose()

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    async def start(self, n: int) -> None:
        serving = self._rowcast.serving("--port", str(self.ports[n]))
        self._serving[n] = await self._stacks[n].enter_async_context(serving)

    async def stop(self, n: int) -> int:
        status = await self._serving[n].stop()
        await self._stacks[n].aclose()
        return status

    async def subscribers(self) -> list[int]:
        found = []
        for serving in self._serving.values():
            text = (await http.get(serving.address, "/metrics")).body.decode()
            line = next(x for x in text.splitlines() if x.startswith("rowcast_subscribers "))
            found.append(int(float(line.split()[1])))
        return found


def write(url: str, stop: threading.Event) -> None:
    with connect(url) as connection:
        random = Random(1)
        while not stop.wait(0.002):
            workload.transaction(connection, random)


async def test_a_rolling_restart_leaves_nobody_behind(
    balancer: Balancer,
    rowcast: Rowcast,
    database: str,
    admin: psycopg.Connection,
    tmp_path: Path,
) -> None:
    stop = threading.Event()
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(Fleet(rowcast))
        address = await stack.enter_async_context(balancer(tmp_path, fleet.addresses))
        await http.until(address, "/readyz", ready=True)
        replicas = [
            await stack.enter_async_context(following(address, *SQL, kind=kind))
            for kind in (Replica, Streamed)
            for _ in range(6)
        ]
        found = await fleet.subscribers()
        assert sum(found) == 12
        assert max(found) - min(found) <= 2
        writing = asyncio.create_task(asyncio.to_thread(write, database, stop))
        try:
            for n in range(3):
                assert await fleet.stop(n) == 0
                await fleet.start(n)
        finally:
            stop.set()
        await writing
        expected = {topic: rows(admin, query) for topic, query in SQL.items()}
        for replica in replicas:
            await replica.equals(expected)
            assert replica.regressions == []
            assert not any(m["type"] == "error" for m in replica.messages)


async def test_the_balancer_asks_for_readiness_and_hides_metrics(
    balancer: Balancer, rowcast: Rowcast, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """One of three is there; whoever comes is served by it, and events come one by one."""
    async with rowcast.serving() as serving:
        alone = serving.address.removeprefix("http://")
        nobody = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        async with balancer(tmp_path, [alone, *nobody]) as address:
            await http.until(address, "/readyz", ready=True)
            assert (await http.get(address, "/metrics", Connection="close")).status == 404
            for kind in (Replica, Streamed):
                async with following(address, "cells/7", kind=kind) as replica:
                    for counter in (1000, 2000, 3000):
                        admin.execute("UPDATE cells SET counter = %s", (counter,))
                        await replica.equals({"cells/7": rows(admin, SQL["cells/7"])})
