"""What no trigger saw is found, sent and counted; what a trigger saw is never counted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from bridge import pipeline
from tests.support import PATIENCE
from tests.support.bridges import configure, running
from tests.support.replica import following, rows
from tests.support.visitor import cursor_of, visiting

if TYPE_CHECKING:
    import psycopg

    from tests.support.bridges import Running

CELLS = """
CREATE TABLE cells (id int PRIMARY KEY, grp int, note text);
INSERT INTO cells SELECT n, n % 3, 'start' FROM generate_series(1, 30) n;
"""

CONFIG = """
  cells:
    topics: [cells, "cells/{id}", "groups/{grp}/cells"]
    debounce: 20ms
    max_wait: 100ms
"""

TOPICS = ("cells", "cells/1", "groups/1/cells", "groups/2/cells")

UNSEEN = {
    "triggers disabled": (
        "ALTER TABLE cells DISABLE TRIGGER ALL",
        "ALTER TABLE cells ENABLE TRIGGER ALL",
    ),
    "replica role": ("SET session_replication_role = replica", "RESET session_replication_role"),
}

WRITES = """
UPDATE cells SET note = 'unseen' WHERE id = 1;
UPDATE cells SET grp = 2 WHERE id = 4;
DELETE FROM cells WHERE id = 7;
INSERT INTO cells VALUES (100, 1, 'unseen');
"""


def repairs(bridge: Running) -> float:
    return bridge.bridge.metrics.repairs._value.get()


def truth(admin: psycopg.Connection) -> dict:
    return {
        "cells": rows(admin, "SELECT * FROM cells"),
        "cells/1": rows(admin, "SELECT * FROM cells WHERE id = 1"),
        "groups/1/cells": rows(admin, "SELECT * FROM cells WHERE grp = 1"),
        "groups/2/cells": rows(admin, "SELECT * FROM cells WHERE grp = 2"),
    }


@pytest.mark.parametrize("how", UNSEEN)
async def test_what_no_trigger_saw_is_found_sent_and_counted(
    database: str, admin: psycopg.Connection, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PATIENCE", 0.2)
    admin.execute(CELLS)
    async with (
        running(configure(database, CONFIG, reconcile="200ms")) as bridge,
        following(bridge.url, *TOPICS) as replica,
    ):
        blind, sighted = UNSEEN[how]
        for statement in (blind, WRITES, sighted):
            admin.execute(statement)
        await replica.equals(truth(admin))
        async with asyncio.timeout(PATIENCE):
            while repairs(bridge) < 4:
                await asyncio.sleep(0.05)


async def test_a_restored_partition_is_found(database: str, admin: psycopg.Connection) -> None:
    admin.execute("""
        CREATE TABLE cells (id int PRIMARY KEY, grp int, note text) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF cells FOR VALUES FROM (0) TO (10);
        CREATE TABLE high PARTITION OF cells FOR VALUES FROM (10) TO (99);
        INSERT INTO cells SELECT n, n % 3, 'start' FROM generate_series(1, 30) n;
    """)
    async with (
        running(configure(database, CONFIG, reconcile="200ms")) as bridge,
        following(bridge.url, "cells") as replica,
    ):
        for statement in (
            "ALTER TABLE cells DETACH PARTITION low",
            "UPDATE low SET note = 'while away'",
            "ALTER TABLE cells ATTACH PARTITION low FOR VALUES FROM (0) TO (10)",
            "TRUNCATE high",
        ):
            admin.execute(statement)
            await replica.equals({"cells": rows(admin, "SELECT * FROM cells")})


async def test_who_resumed_is_told_what_no_trigger_saw_while_it_was_away(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(CELLS)
    config = configure(database, CONFIG, durable="true")
    async with running(config) as first, running(config, migrated=False) as second:
        at = await cursor_of(first.url, "groups/1/cells")
        blind, sighted = UNSEEN["triggers disabled"]
        for statement in (blind, WRITES, sighted):
            admin.execute(statement)
        async with visiting(second.url, "groups/1/cells", at) as visit:
            reply, missed = await visit.begin()
            assert (reply["resumed"], missed) == (True, [])
            second.bridge.hub.reconcile()
            page = await visit.next()
            held = {json.dumps(entry["key"]): entry["row"] for entry in page["rows"]}
            assert (page["type"], held) == ("snapshot", truth(admin)["groups/1/cells"])
            # Once: from here on it is compared like everybody else.
            admin.execute("UPDATE cells SET note = 'seen' WHERE id = 1")
            assert (await visit.next())["type"] == "change"
            second.bridge.hub.reconcile()
            admin.execute("UPDATE cells SET note = 'seen too' WHERE id = 1")
            assert (await visit.next())["type"] == "change"


async def test_what_triggers_saw_is_not_counted(database: str, admin: psycopg.Connection) -> None:
    admin.execute(CELLS)
    async with (
        running(configure(database, CONFIG, reconcile="10ms")) as bridge,
        following(bridge.url, *TOPICS) as replica,
    ):
        for n in range(300):
            await asyncio.to_thread(
                admin.execute,
                "UPDATE cells SET note = %s, grp = %s WHERE id <= 10",
                (str(n), n % 3),
            )
        await replica.equals(truth(admin))
        suspects = [t.ledger.suspects for t in bridge.bridge.hub.routes.followed()]
        async with asyncio.timeout(PATIENCE):
            while any(suspects):
                await asyncio.sleep(0.05)
        assert repairs(bridge) == 0
        assert replica.regressions == []
