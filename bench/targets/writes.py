"""P2. What capture costs the application's small writes: pgbench, one row per transaction.

Commits wait for the disk. Every design has a table of 10,000 rows in a database of its own in one
server, so that who notifies in one pays nothing for the sessions that listen in another; those
that are followed are so by a bridge in a process of its own with one subscriber. Each round runs
all designs, and its result is the ratio to the untriggered table's in the same round.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import peers
from bench.crowd import crowd
from bench.report import Result, Table, Verdict, row
from bench.stats import percentile, ratios, spread
from bench.targets.latency import SEED_TRIGGER
from bench.world import bridge, connect, fresh, postgres, subscribe

if TYPE_CHECKING:
    from bench.run import Run
    from bench.world import Database

TARGET = "P2"
TITLE = "Writes of the application"

ROWS = 10_000
UNTRIGGERED, NOTHING, SEED = "untriggered", "a trigger that does nothing", "seed's trigger"
INSERTS = "a trigger that only inserts"
NOTIFY, KEPT, DURABLE = "Rowcast, notify", "Rowcast, durable, not followed", "Rowcast, durable"
BY_ROW = "Rowcast, durable, trigger: row"
DESIGNS = (UNTRIGGERED, NOTHING, INSERTS, SEED, NOTIFY, KEPT, DURABLE, BY_ROW)
NAMES = {design: f"w{n}" for n, design in enumerate(DESIGNS)}

_TABLE = """
CREATE TABLE items (id int PRIMARY KEY, total int NOT NULL) WITH (fillfactor = 50);
INSERT INTO items SELECT n, 0 FROM generate_series(1, 10000) n;
VACUUM ANALYZE items;
"""
_NOTHING = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER u AFTER UPDATE ON items REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
"""
# The least that a design can do that keeps changes in a table: no index, no number, no look at the
# rows, nobody who reads.
_INSERTS = """
CREATE TABLE kept (payload text);
CREATE FUNCTION inserts() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO kept VALUES ('{"t":"items","o":"u","k":[["1"]]}'); RETURN NULL; END$$;
CREATE TRIGGER u AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION inserts();
"""
_SCRIPT = f"""\\set id random(1, {ROWS})
UPDATE items SET total = total + 1 WHERE id = :id;
"""
_WRITERS = {8: 0.85, 32: 0.70}
"""At how many writers durable capture must leave which share of the throughput."""


class Speed(NamedTuple):
    """Transactions per second, and the 99th percentile of one, in milliseconds."""

    throughput: float
    slow: float


def measure(run: Run) -> Result:
    seconds = run.size(2.0, 1.0)
    writers = run.size((1, 8, 32), (8,))
    found: dict[tuple[int, str], list[Speed]] = {}
    with postgres(run.pg, durable=True) as server, ExitStack() as stack:
        missing = prepare(stack, server)
        for count in writers:
            for _, design in run.turns(DESIGNS, 5):
                speed = pgbench(server, NAMES[design], count, seconds)
                found.setdefault((count, design), []).append(speed)
            with connect(server.url()) as connection:
                connection.execute("CHECKPOINT")
        return _result(found, writers, missing, server.version)


def prepare(stack: ExitStack, server: Database) -> str:
    """Everybody's database, and who listens there; why the seed's listener is missing, if so."""
    urls = {design: fresh(server, NAMES[design], "") for design in DESIGNS}
    for url in urls.values():
        with connect(url) as connection:
            for statement in _TABLE.strip().split(";\n"):
                connection.execute(statement.encode())
    with connect(urls[NOTHING]) as connection:
        connection.execute(_NOTHING)
    with connect(urls[INSERTS]) as connection:
        connection.execute(_INSERTS)
    with connect(urls[SEED]) as connection:
        connection.execute(SEED_TRIGGER.format(table="items").encode())
    followed(stack, urls[NOTIFY], "{}", "items/1")
    followed(stack, urls[KEPT], "{durable: true}")
    followed(stack, urls[DURABLE], "{durable: true}", "items/1")
    followed(stack, urls[BY_ROW], "{durable: true, trigger: row}", "items/1")
    if not (missing := peers.without_node("pg", "ws")):
        stack.enter_context(peers.seed(urls[SEED], "items"))
    return missing


def followed(stack: ExitStack, url: str, options: str, *topics: str) -> None:
    """By a bridge with one subscriber, if there is a topic for it."""
    ready = stack.enter_context(bridge(url, f"  items: {options}"))
    if topics:
        said = [subscribe(topic) for topic in topics]
        stack.enter_context(crowd(ready.socket, 1, *said, ready=1 + 2 * len(said)))


def pgbench(server: Database, database: str, writers: int, seconds: float) -> Speed:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        script = Path(directory, "script.sql")
        script.write_text(_SCRIPT)
        command = [str(server.binary("pgbench")), "-n", "-M", "prepared", "-c", str(writers)]
        command += ["-j", str(min(writers, 2)), "-T", f"{seconds:.0f}", "-f", str(script)]
        command += ["-l", "--log-prefix", f"{directory}/log", server.url(database)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times = [
            int(line.split()[2]) / 1000
            for log in Path(directory).glob("log*")
            for line in log.read_text().splitlines()
        ]
    tps = re.search(r"tps = ([\d.]+)", done.stdout)
    assert tps, done.stdout
    return Speed(float(tps[1]), percentile(times, 99))


def _result(
    found: dict[tuple[int, str], list[Speed]], writers: tuple[int, ...], missing: str, version: str
) -> Result:
    fast = {at: [one.throughput for one in speeds] for at, speeds in found.items()}
    ratio = {at: ratios(speeds, fast[at[0], UNTRIGGERED]) for at, speeds in fast.items()}
    columns = [f"{count} writer{'s' * (count > 1)}" for count in writers]
    throughput = [
        row("untriggered, transactions/s", *(_speeds(found[n, UNTRIGGERED]) for n in writers)),
        *(row(design, *(ratio[n, design] for n in writers)) for design in DESIGNS[1:]),
    ]
    slow = [
        row(design, *([one.slow for one in found[n, design]] for n in writers))
        for design in DESIGNS
    ]
    notes = ["the seed's listener did not run: " + missing] if missing else []
    return Result(
        "writes",
        TARGET,
        TITLE,
        (
            Table(tuple(f"{column}, ÷ untriggered" for column in columns), tuple(throughput)),
            Table(tuple(f"{column}, p99 ms" for column in columns), tuple(slow), digits=1),
        ),
        tuple(_verdicts(ratio, writers)),
        notes=tuple(notes),
        about={"postgresql": version, "fsync": "on"},
    )


def _speeds(speeds: list[Speed]) -> str:
    middle, low, high, _ = spread([one.throughput for one in speeds])
    return f"{middle:,.0f} ({low:,.0f}–{high:,.0f})"


def _verdicts(ratio: dict[tuple[int, str], list[float]], writers: tuple[int, ...]) -> list[Verdict]:
    found = []
    for count in writers:
        got = {design: spread(ratio[count, design]).median for design in DESIGNS}
        at = f"{count} writer{'s' * (count > 1)}"
        if count in _WRITERS:
            limit = _WRITERS[count]
            found.append(Verdict(f"durable at {at}", got[DURABLE], limit, at_least=True))
        found.append(Verdict(f"notify ÷ seed's, {at}", got[NOTIFY] / got[SEED], 1.0, at_least=True))
    return found
