"""Row-level security: what a flush costs, one read for each set of claims that follows.

Reads keys of one table as the bridge does, for 1, 10 and 100 viewers in turn, beside one read
without policies. It has no target.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.report import Result, Table, row
from bench.world import connect, postgres
from bridge import catalog, config, migrate, pool, viewer
from bridge.config.auth import RlsConfig
from bridge.loader import Loader

if TYPE_CHECKING:
    from bench.run import Run
    from bridge.changes import Key
    from bridge.config import Config
    from bridge.tables import Table as Watched

TARGET = "RLS"
TITLE = "Row-level security"

ROWS = 100_000
VIEWERS = (0, 1, 10, 100)
KEYS = (1, 100)

_TABLE = """
CREATE TABLE docs (id int PRIMARY KEY, tenant text NOT NULL, body text NOT NULL);
INSERT INTO docs SELECT n, 'tenant-' || n % 100, repeat('x', 100) FROM generate_series(1, 100000) n;
ANALYZE docs;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (
    tenant = current_setting('request.jwt.claims')::json ->> 'tenant');
CREATE ROLE app;
"""
_GRANTS = """
GRANT USAGE ON SCHEMA rowcast TO app;
GRANT SELECT ON docs, rowcast.epoch TO app;
"""

Cost = dict[tuple[int, int], list[float]]


def measure(run: Run) -> Result:
    with postgres(run.pg) as server:
        settings = config.loads(f"database: {server.url()}\ntables: {{docs: }}")
        with connect(settings.database) as connection:
            connection.execute(_TABLE)
            migrate.apply(settings, progress=lambda _: None)
            connection.execute(_GRANTS)
            docs = catalog.resolved(connection, settings)["docs"]
        run.step("reading")
        cost = asyncio.run(_measure(settings, docs, run.rounds or run.size(40, 5)))
    rows = [
        row(_label(viewers), str(4 * viewers or 1), *(cost[viewers, keys] for keys in KEYS))
        for viewers in VIEWERS
    ]
    columns = ("statements", *(f"ms, {n} changed key{'s' * (n > 1)}" for n in KEYS))
    about = {"postgresql": server.version, "rows": ROWS}
    return Result("rls", TARGET, TITLE, (Table(columns, tuple(rows), digits=1),), (), about=about)


def _label(viewers: int) -> str:
    return f"{viewers} set{'s' * (viewers > 1)} of claims" if viewers else "without `rls`"


async def _measure(settings: Config, docs: Watched, rounds: int) -> Cost:
    """Milliseconds of each round, by viewers (0: no policies) and keys."""
    cost: Cost = {(viewers, keys): [] for viewers in VIEWERS for keys in KEYS}
    async with pool.open_pool(settings) as connections:
        plain = Loader(connections, settings.schema)
        guarded = Loader(connections, settings.schema, rls=RlsConfig("app"))
        for number in range(-2, rounds):
            for viewers, keys in cost:
                wanted = [(str(number * 997 % 90_000 + 2_000 + n),) for n in range(keys)]
                elapsed = await _flush(plain, guarded, docs, wanted, viewers)
                if number >= 0:  # before it, caches are filled
                    cost[viewers, keys].append(elapsed * 1000)
    return cost


async def _flush(
    plain: Loader, guarded: Loader, docs: Watched, wanted: list[Key], viewers: int
) -> float:
    begun = time.perf_counter()
    if not viewers:
        await plain.load(docs, wanted)
    for n in range(viewers):
        claims = viewer.of({"sub": f"user-{n}", "tenant": f"tenant-{n % 100}"})
        await guarded.seen_by(claims).load(docs, wanted)
    return time.perf_counter() - begun
