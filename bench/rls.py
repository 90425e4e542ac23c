"""What a flush costs where policies decide: one read for each set of claims that follows.

Reads keys of one table as the bridge does, for 1, 10 and 100 viewers in turn, beside one
read without policies. Statements are counted at the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median, quantiles
from typing import TYPE_CHECKING

import psycopg

from bridge import catalog, config, migrate, pool, viewer
from bridge.config.auth import RlsConfig
from bridge.demo.postgres import Postgres, find_binaries
from bridge.loader import Loader

if TYPE_CHECKING:
    from bridge.changes import Key
    from bridge.config import Config
    from bridge.tables import Table

ROWS = 100_000
VIEWERS = (1, 10, 100)
KEYS = (1, 100)

SETUP = """
CREATE TABLE docs (id int PRIMARY KEY, tenant text NOT NULL, body text NOT NULL);
INSERT INTO docs SELECT n, 'tenant-' || n % 100, repeat('x', 100) FROM generate_series(1, 100000) n;
ANALYZE docs;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (
    tenant = current_setting('request.jwt.claims')::json ->> 'tenant');
CREATE ROLE app;
GRANT USAGE ON SCHEMA rowcast TO app;
GRANT SELECT ON docs, rowcast.epoch TO app;
"""


def main() -> None:
    arguments = _arguments()
    with Postgres.start(binaries=find_binaries(arguments.pg)) as server:
        text = f"database: {server.url()}\ntables: {{docs: }}"
        settings = config.loads(text)
        prepare(settings)
        cost = asyncio.run(measure(settings, arguments.rounds))
        print(table(server.version, cost))  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--rounds", type=int, default=40)
    return parser.parse_args()


def prepare(settings: Config) -> None:
    with psycopg.connect(settings.database, autocommit=True) as connection:
        create, rest = SETUP.split(";\n", 1)
        connection.execute(create.encode())
        migrate.apply(settings, progress=lambda _line: None)
        connection.execute(rest.encode())


Cost = dict[tuple[int, int], list[float]]


async def measure(settings: Config, rounds: int) -> Cost:
    """Milliseconds of each round, by viewers (0: no policies) and keys."""
    with psycopg.connect(settings.database, autocommit=True) as connection:
        docs = catalog.resolved(connection, settings)["docs"]
    cost: Cost = {(viewers, keys): [] for viewers in (0, *VIEWERS) for keys in KEYS}
    async with pool.open_pool(settings) as connections:
        plain = Loader(connections, settings.schema)
        guarded = Loader(connections, settings.schema, rls=RlsConfig("app"))
        for number in range(-2, rounds):
            for viewers, keys in cost:
                wanted = [(str(number * 997 % 90_000 + 2_000 + n),) for n in range(keys)]
                elapsed = await flush(plain, guarded, docs, wanted, viewers)
                if number >= 0:  # before it, caches are filled
                    cost[viewers, keys].append(elapsed * 1000)
    return cost


async def flush(
    plain: Loader, guarded: Loader, docs: Table, wanted: list[Key], viewers: int
) -> float:
    begun = time.perf_counter()
    if not viewers:
        await plain.load(docs, wanted)
    for n in range(viewers):
        claims = viewer.of({"sub": f"user-{n}", "tenant": f"tenant-{n % 100}"})
        await guarded.seen_by(claims).load(docs, wanted)
    return time.perf_counter() - begun


def table(version: str, cost: Cost) -> str:
    lines = [
        f"PostgreSQL {version}, {ROWS:,} rows; ms for one flush, median (quartiles)\n",
        f"| sets of claims | statements | {' | '.join(f'{keys} changed keys' for keys in KEYS)} |",
        "|---|---|---|---|",
    ]
    for viewers in (0, *VIEWERS):
        cells = [shown(cost[viewers, keys]) for keys in KEYS]
        lines.append(f"| {viewers or 'without `rls`'} | {4 * viewers or 1} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(times: list[float]) -> str:
    lower, _, upper = quantiles(times, n=4)
    return f"{median(times):.1f} ({lower:.1f}–{upper:.1f})"


if __name__ == "__main__":
    main()
