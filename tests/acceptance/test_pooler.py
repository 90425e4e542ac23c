"""`database` through a transaction pooler, `listen` direct: everything works as without one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.bridges import configure, running
from tests.support.poolers import PGBOUNCER, pooler
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

TOPIC = "readings/2026-03-29T00%3A30%3A00.5%2B00%3A00"

CONFIG = """
  readings:
    topics: [readings, "readings/{at}"]
"""


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
async def test_keys_are_spelled_alike_on_every_session_of_the_pooler(
    database: str, admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    admin.execute("CREATE TABLE readings (at timestamptz PRIMARY KEY, took interval, value float8)")
    admin.execute("INSERT INTO readings VALUES ('2026-03-29 00:30:00.5Z', '1 day', 0.1)")
    # The pooler's own sessions are set otherwise than ours would be.
    name = sql.Identifier(admin.info.dbname)
    for setting in ("timezone = 'Asia/Tokyo'", "intervalstyle = iso_8601", "datestyle = german"):
        admin.execute(sql.SQL("ALTER DATABASE {} SET ").format(name) + sql.SQL(setting))
    with pooler(database, tmp_path_factory.mktemp("pgbouncer")) as pooled:
        direct = configure(database, CONFIG)
        config = replace(direct, database=pooled, listen=database)
        async with (
            running(config, migrated=direct) as bridge,
            following(bridge.url, "readings", TOPIC) as replica,
        ):
            admin.execute("UPDATE readings SET value = 0.2")
            admin.execute("SET timezone = UTC; SET intervalstyle = postgres")
            row = rows(admin, "SELECT * FROM readings", key="at")
            await replica.equals(dict.fromkeys(replica.topics, row))
