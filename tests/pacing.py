"""Paced capture under stress: `python -m tests.pacing --seconds 600`. Exit 1 if a change was lost.

Restless followers wake and rest many times a second, and sessions that hold the lock or wait
for it are killed twice a second. Shown: how often, and how long a change waited from its
commit until the later of two followers had read it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge import migrate
from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect, fresh_database
from tests.support.bridges import configure
from tests.support.pacing import CONFIG, TABLE, outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--pg", help="which PostgreSQL, as for the tests")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with Postgres.start(binaries=find_binaries(args.pg), settings={}) as server:
        for url in fresh_database(server, "template0"):
            with connect(url) as admin:
                admin.execute(TABLE)
            config = configure(url, CONFIG)
            migrate.apply(config, progress=lambda _: None)
            found = asyncio.run(outcome(config, args.seconds, writers=args.writers, seed=args.seed))
    waits = [round(found.waits[int(len(found.waits) * q)] * 1000, 1) for q in (0.5, 0.99)]
    print(f"{found.committed} committed, {found.unseen} unseen, {found.turns} turns,")
    print(f"led {found.led} times, {found.killed} sessions killed")
    print(f"waited p50 {waits[0]} ms, p99 {waits[1]} ms, max {found.waits[-1] * 1000:.1f} ms")
    return 1 if found.unseen else 0


if __name__ == "__main__":
    sys.exit(main())
