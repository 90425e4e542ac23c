"""./dev chaos: faults at random for minutes; exit status 1 if a promise was broken.

    ./dev chaos [--minutes N] [--seed S] [--faults F1,F6] [--pg 15] [--json FILE]

A seed decides on the schemas, the writes and the faults, and says on which side of chance
they come; when they meet is up to the machine, so a seed makes a failure likely to come
again, not certain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
import time
from pathlib import Path

from tests.chaos.arena import run
from tests.chaos.faults import FAULTS
from tests.chaos.plan import Plan


class Progress:
    """One line that renews itself; where that is not seen, one every ten seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._due = 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic() - self._began
        if sys.stderr.isatty():
            print(f"\r\x1b[K{now:5.0f} s  {line}", end="", file=sys.stderr, flush=True)
        elif now >= self._due:
            self._due = now + 10
            print(f"{now:5.0f} s  {line}", file=sys.stderr, flush=True)


def main() -> None:
    arguments = _arguments()
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # sessions end badly here by design
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(10**6)
    plan = Plan(seed, arguments.minutes * 60, tuple(arguments.faults), pg=arguments.pg)
    print(f"chaos: seed {seed}, {arguments.minutes:g} min", file=sys.stderr)
    report = asyncio.run(run(plan, Progress()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    print(f"\n\nPostgreSQL {report.postgresql}, {plan.instances} instances\n")
    print(report.table())
    if report.broken:
        again = f"./dev chaos --seed {seed} --minutes {arguments.minutes:g}"
        sys.exit(f"\n{report.failure()}\n\nseed {seed}; again: {again}")
    print("clean")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev chaos",
        description="Real bridges, random writes and faults, and all that must hold all the same.",
        epilog="Faults: " + "; ".join(f"{code} {fault.title}" for code, fault in FAULTS.items()),
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--faults", type=_codes, default=list(FAULTS), metavar="F1,F2,…")
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the report, too")
    return parser.parse_args()


def _codes(text: str) -> list[str]:
    codes = text.split(",")
    if unknown := [code for code in codes if code not in FAULTS]:
        raise argparse.ArgumentTypeError(f"no fault {unknown[0]}; there are {', '.join(FAULTS)}")
    return codes


if __name__ == "__main__":
    main()
