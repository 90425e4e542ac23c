"""What capture costs the application's small writes: throughput ÷ that of an untriggered table.

    python bench/writes.py [--pg 15] [--seconds 4] [--rounds 5] [--writers 1,8,32] [--json]

pgbench updates one row of 10,000 in each transaction, by prepared statements; commits wait for
the disk (fsync is on). Five tables hold the same rows: untriggered; with a statement trigger
that does nothing; announced by NOTIFY; durable and not followed, so that every transaction
rings; and durable while a bridge follows it, in a process of its own, as one that leads. Each
round runs all of them, beginning with another one each time; a round's result is the ratio to
the untriggered throughput of that same round. Shown are medians and quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge import migrate
from bridge.client import Client
from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect
from tests.support.bridges import configure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.demo.postgres import Binaries

DESIGNS = ("untriggered", "does_nothing", "notify", "durable_rings", "durable_paced")
ROWS = 10_000

TABLE = """
CREATE TABLE {table} (id int PRIMARY KEY, total int NOT NULL) WITH (fillfactor = 50);
INSERT INTO {table} SELECT n, 0 FROM generate_series(1, {rows}) n;
"""
NOTHING = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER u AFTER UPDATE ON does_nothing REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
"""
SCRIPT = """\\set id random(1, {rows})
UPDATE {table} SET total = total + 1 WHERE id = :id;
"""
CONFIG = """
  notify: {}
  durable_rings: {durable: true}
  durable_paced: {durable: true}
"""


def main() -> None:
    arguments = _arguments()
    binaries = find_binaries(arguments.pg)
    settings = {"max_connections": "100"}
    with Postgres.start(binaries=binaries, settings=settings, durable=True) as server:
        found = measure(server.url(), binaries, arguments)
        report = {"postgresql": server.version, "seconds": arguments.seconds, "writers": found}
    print(json.dumps(report, indent=2) if arguments.json else table(report))  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--writers", default="1,8,32")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def measure(url: str, binaries: Binaries, arguments: argparse.Namespace) -> dict[str, Any]:
    """By number of writers: each design's ratio, and the untriggered transactions per second."""
    with connect(url) as connection:
        for design in DESIGNS:
            connection.execute(TABLE.format(table=design, rows=ROWS).encode())
        connection.execute(NOTHING)
        migrate.apply(configure(url, CONFIG), progress=lambda _: None)
        found: dict[str, Any] = {}
        for writers in arguments.writers.split(","):
            rounds: list[dict[str, float]] = []
            for number in range(arguments.rounds):
                connection.execute("VACUUM")
                connection.execute("CHECKPOINT")
                rounds.append(_round(url, binaries, int(writers), number, arguments.seconds))
            found[writers] = ratios(rounds)
    return found


def _round(
    url: str, binaries: Binaries, writers: int, number: int, seconds: int
) -> dict[str, float]:
    speeds = {}
    for design in rotated(number):
        if design == "durable_paced":
            with following(url):
                speeds[design] = run(url, binaries, design, writers, seconds)
        elif design in ("notify", "durable_rings"):
            with following(url, "notify"):
                speeds[design] = run(url, binaries, design, writers, seconds)
        else:
            speeds[design] = run(url, binaries, design, writers, seconds)
    return speeds


def rotated(number: int) -> tuple[str, ...]:
    first = number % len(DESIGNS)
    return DESIGNS[first:] + DESIGNS[:first]


@contextmanager
def following(url: str, topic: str = "durable_paced") -> Iterator[None]:
    """A bridge in a process of its own, of which one client follows one row of the table."""
    with tempfile.TemporaryDirectory(prefix="writes-") as directory:
        config = Path(directory) / "config.yaml"
        tables = f"tables:{CONFIG}"
        config.write_text(f"database: {url}\nserver: {{port: 0}}\n{tables}", encoding="utf-8")
        command = [sys.executable, __file__, "--bridge", str(config), f"{topic}/1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            assert process.stdout.readline() == "follows\n"
            try:
                yield
            finally:
                process.terminate()


async def bridge(config: str, topic: str) -> None:
    """What that process is: says `follows` when a client has its first snapshot."""
    from bridge import config as configuration
    from bridge.pipeline import Bridge

    started: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    serving = Bridge(configuration.load(Path(config)))
    task = asyncio.create_task(serving.run(lambda host, port: started.set_result((host, port))))
    host, port = await started
    await serving.health.wait()
    async with Client(f"http://{host}:{port}") as client:
        await client.state(topic)
        print("follows", flush=True)  # noqa: T201
        await task


def run(url: str, binaries: Binaries, design: str, writers: int, seconds: int) -> float:
    """Transactions per second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(table=design, rows=ROWS))
        script.flush()
        command = [str(binaries.path("pgbench")), "-n", "-M", "prepared", "-c", str(writers)]
        command += ["-j", str(min(writers, 2)), "-T", str(seconds), "-f", script.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def ratios(rounds: list[dict[str, float]]) -> dict[str, Any]:
    result: dict[str, Any] = {"untriggered": round(median(r["untriggered"] for r in rounds))}
    for design in DESIGNS[1:]:
        values = [r[design] / r["untriggered"] for r in rounds]
        lower, _, upper = quantiles(values, n=4) if len(values) > 1 else values * 3
        result[design] = [round(v, 2) for v in (median(values), lower, upper)]
    return result


def table(report: dict[str, Any]) -> str:
    lines = [
        f"PostgreSQL {report['postgresql']}: throughput ÷ untriggered, median (quartiles)\n",
        f"| writers | {' | '.join(DESIGNS)} |",
        "|---|" + "---|" * len(DESIGNS),
    ]
    for writers, found in report["writers"].items():
        cells = [f"{found['untriggered']:,}/s"]
        cells += ["{:.2f} ({:.2f}–{:.2f})".format(*found[design]) for design in DESIGNS[1:]]
        lines.append(f"| {writers} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bridge"]:
        asyncio.run(bridge(*sys.argv[2:4]))
    else:
        main()
