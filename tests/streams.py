"""All workloads on a log table, two instances listening: `python -m tests.streams --seconds 20`.

Rows that were lost, that came twice, and whether both instances had one order. Exit 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from bridge.demo.postgres import Postgres, find_binaries
from tests.support import PATIENCE, connect, fresh_database
from tests.support.bridges import configure, running
from tests.support.listeners import Listener, listening
from tests.support.workloads import CONFIG, WORKLOADS, Workload


class Outcome(NamedTuple):
    """Of the rows committed: counts of the worse of two instances."""

    committed: int
    lost: int
    twice: int
    one_order: bool

    @property
    def right(self) -> bool:
        return self.committed > 0 and not self.lost and not self.twice and self.one_order


async def outcome(url: str, workload: Workload, seconds: float, seed: str) -> Outcome:
    """Write, with a listener on each of two instances, and compare what they got."""
    await workload.prepare(url)
    async with AsyncExitStack() as stack:
        config = configure(url, CONFIG)
        first = await stack.enter_async_context(running(config))
        second = await stack.enter_async_context(running(config, migrated=False))
        listeners = [
            await stack.enter_async_context(listening(instance.url, "ledger"))
            for instance in (first, second)
        ]
        for listener in listeners:
            assert (await listener.begun())["resumed"] is False
        await workload.run(url, seconds, seed)
        return await _compared(url, listeners)


async def _compared(url: str, listeners: list[Listener]) -> Outcome:
    with connect(url) as connection:
        committed = {row[0] for row in connection.execute("SELECT id FROM ledger")}
    for listener in listeners:
        with suppress(TimeoutError):  # what is missing is counted below
            await listener.until(len(committed), patience=PATIENCE)
    got = [listener.ids for listener in listeners]
    lost = max(len(committed - set(ids)) for ids in got)
    twice = max(len(ids) - len(set(ids)) for ids in got)
    return Outcome(len(committed), lost, twice, one_order=got[0] == got[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each workload")
    parser.add_argument("--only", help="the workloads whose names begin so")
    parser.add_argument("--pg", help="which PostgreSQL, as for the tests")
    parser.add_argument("--seed", default="1")
    args = parser.parse_args()
    chosen = {n: w for n, w in WORKLOADS.items() if n.startswith(args.only or "")}
    settings = {"max_connections": "100"}
    wrong = 0
    with Postgres.start(binaries=find_binaries(args.pg), settings=settings) as server:
        print(f"{'workload':28} {'committed':>9} {'lost':>6} {'twice':>6}  one order")
        for name, workload in chosen.items():
            for url in fresh_database(server, "template0"):
                found = asyncio.run(outcome(url, workload, args.seconds, args.seed))
            print(
                f"{name:28} {found.committed:9} {found.lost:6} {found.twice:6}  {found.one_order}"
            )
            wrong += not found.right
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
