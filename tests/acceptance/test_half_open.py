"""Links that die without a word: everything the bridge has to PostgreSQL, at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bridge import link
from bridge.listener import Listener
from tests.support.bridges import configure, running
from tests.support.proxy import Proxy
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.replica import Replica

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO orders SELECT n, 0 FROM generate_series(1, 20) n;
"""
WRITES = """
UPDATE orders SET n = n + 1; DELETE FROM orders WHERE id <= 5; INSERT INTO orders VALUES (99, 1)
"""


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database)
    async with Proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


def said(replica: Replica, state: str) -> bool:
    return any(m["type"] == "status" and m["state"] == state for m in replica.messages)


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of what the bridge grants, for the test's sake: 5 s and 5 s, and 7 s for a read."""
    quick = partial(Listener, heartbeat=1.5, timeout=1.5)
    monkeypatch.setattr("bridge.pipeline.Listener", quick)
    monkeypatch.setattr(link, "PATIENCE", 2.0)


@pytest.mark.parametrize("passes", [False, True], ids=["thawed", "never-thawed"])
async def test_a_half_open_link_is_noticed_and_what_was_missed_is_sent(
    database: str, admin: psycopg.Connection, proxy: Proxy, passes: bool
) -> None:
    """Where a firewall has forgotten the connections, new ones pass and the old never say so."""
    admin.execute(ORDERS)
    config = configure(proxy.url_for(database), "  orders:\n")
    async with (
        running(config) as bridge,
        following(bridge.url, "orders", "orders/20") as replica,
    ):
        if passes:
            proxy.strand()
        else:
            proxy.freeze()
        admin.execute(WRITES)
        await replica.until(lambda: said(replica, "stale"))
        proxy.thaw()
        await replica.equals(
            {
                "orders": rows(admin, "SELECT * FROM orders"),
                "orders/20": rows(admin, "SELECT * FROM orders WHERE id = 20"),
            }
        )
        await replica.until(lambda: said(replica, "live"))
        await bridge.bridge.health.wait()
        assert replica.regressions == []
