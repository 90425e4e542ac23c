"""A loop that hangs must not keep the NOTIFY queue from shrinking, over TCP and over a socket."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from bridge import watchdog
from bridge.backoff import Backoff
from bridge.changes import Change, Gap, Lost, Operation
from bridge.demo.postgres import Postgres
from bridge.listener import Listener, Notifier
from tests.support import PATIENCE
from tests.support.apart import apart

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import psycopg

    from bridge.listener import Item
    from tests.support import Server

CHANNEL = "hang"
FLOOD = {"tcp": 1, "socket": 3000}
"""Notifications of 7 KB. Over TCP the server itself drops who takes nothing more, and it would
not be the watchdog that is tested; over a socket it writes for ever once the buffer is full.
"""
_BACKEND = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'held up'"


@pytest.fixture(params=["tcp", "socket"])
def url(request: pytest.FixtureRequest, server: Server, database: str) -> str:
    name = database.rpartition("/")[2]
    if request.param == "tcp":
        return f"{database}?application_name=held%20up"
    if not isinstance(server, Postgres):
        pytest.skip("DATABASE_URL's server may be on another machine")
    return f"{server.socket_url(name)}&application_name=held%20up"


async def until(admin: psycopg.Connection, query: str, value: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while admin.execute(query).fetchone() != value:
            await asyncio.sleep(0.02)


async def the_next(items: AsyncGenerator[Item, None], kind: type) -> Item:
    while not isinstance(item := await anext(items), kind):
        pass
    return item


async def test_a_hung_loop_does_not_pin_the_queue(
    url: str,
    admin: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL", 0.2)
    flood = FLOOD["socket" if "host=" in url else "tcp"]
    usage = "SELECT pg_notification_queue_usage()"
    notifier = Notifier(url.replace("held%20up", "probes"), CHANNEL)
    listener = Listener(
        url, CHANNEL, probe=notifier.notify, widths={"t": (1, 0)}, backoff=Backoff(0.001, 0.01)
    )
    with apart() as there:
        async with there.entered(aclosing(listener.listen())) as items:
            assert isinstance(await there.run(anext(items)), Gap)
            with there.held_up():
                admin.execute(
                    "SELECT pg_notify(%s, repeat('x', 7000) || n) FROM generate_series(1, %s) n",
                    (CHANNEL, flood),
                )
                await until(admin, _BACKEND, None)
                await until(admin, usage, (0.0,))
            await there.run(the_next(items, Lost))
            await there.run(the_next(items, Gap))
            admin.execute("SELECT pg_notify(%s, %s)", (CHANNEL, '{"t":"t","o":"u","k":[["1"]]}'))
            assert await there.run(anext(items)) == [Change("t", ("1",), Operation.UPDATE)]
    notifier.close()
    [record] = [r for r in caplog.records if r.name == "bridge.watchdog"]
    assert record.levelno == logging.ERROR
    assert any("hang" in place for place in record.at)  # type: ignore[attr-defined]
