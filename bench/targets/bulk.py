"""P3. What capture costs one statement over 100,000 rows, beside no capture and a trigger per row.

Four tables hold the same rows: untriggered; with statement triggers that keep the rows and do
nothing, which is the least that PostgreSQL lets capture cost; captured; and with the seed's
row-level trigger. Commits wait for the disk.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.report import Result, Table, Verdict, row
from bench.stats import ratios, spread
from bench.targets.latency import SEED_TRIGGER
from bench.world import connect, fresh, postgres
from bridge import config, migrate

if TYPE_CHECKING:
    from psycopg import Notify

    from bench.run import Run

TARGET = "P3"
TITLE = "Bulk statements"

DESIGNS = ("untriggered", "does_nothing", "rowcast", "row_trigger")
NAMES = ("untriggered", "triggers that do nothing", "Rowcast", "seed's trigger")

_TABLE = """
CREATE TABLE {table} (id int PRIMARY KEY, customer int, status text, total numeric(10,2));
INSERT INTO {table} SELECT n, n % 100, 'placed', n % 1000 FROM generate_series(1, {rows}) n;
"""
_NOTHING = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER i AFTER INSERT ON does_nothing REFERENCING NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER u AFTER UPDATE ON does_nothing REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER d AFTER DELETE ON does_nothing REFERENCING OLD TABLE AS o
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
"""
_WATCHED = """  rowcast:
    topics: ["orders/{id}", "customers/{customer}/orders"]
"""
STATEMENTS = {
    "UPDATE of {rows:,}": "UPDATE {table} SET status = 'round {round}', total = total + 1",
    "UPDATE of 1,000": "UPDATE {table} SET total = total + 1 WHERE id <= 1000",
    "DELETE of {rows:,}": "DELETE FROM {table}",
    "INSERT of {rows:,}": "INSERT INTO {table}"
    " SELECT n, n % 100, 'placed', n % 1000 FROM generate_series(1, {rows}) n",
}

Seconds = dict[str, dict[str, list[float]]]


def measure(run: Run) -> Result:
    rows = run.size(100_000, 20_000)
    seconds: Seconds = {name: {design: [] for design in DESIGNS} for name in STATEMENTS}
    heard: dict[str, dict[str, int]] = {}
    with postgres(run.pg, durable=True) as server:
        url = fresh(server, "bulk", _script(rows))
        given = config.loads(f"database: {url}\ntables:\n{_WATCHED}")
        migrate.apply(given, progress=lambda _: None)
        with connect(url) as writer, connect(url) as ear:
            ear.execute("LISTEN rowcast; LISTEN seed")
            warm = len(DESIGNS)
            for number, design in run.turns(DESIGNS, 7, 3):
                for name, statement in STATEMENTS.items():
                    text = statement.format(table=design, round=number, rows=rows)
                    elapsed = _timed(writer, text)
                    heard.setdefault(name, {})[design] = len(payloads(ear))
                    if warm <= 0:  # the first round fills caches
                        seconds[name][design].append(elapsed)
                warm -= 1
                writer.execute(f"VACUUM {design}".encode())
                writer.execute("CHECKPOINT")
        return _result(seconds, heard, rows, server.version)


def payloads(ear: Any) -> list[str]:
    """What was committed before this call: a round trip delivers all of it."""
    notifications: list[Notify] = []
    ear.add_notify_handler(notifications.append)
    ear.execute("SELECT")
    ear.remove_notify_handler(notifications.append)
    return [notification.payload for notification in notifications]


def _script(rows: int) -> str:
    tables = "".join(_TABLE.format(table=design, rows=rows) for design in DESIGNS)
    return tables + _NOTHING + SEED_TRIGGER.format(table="row_trigger") + "ANALYZE;"


def _timed(connection: Any, statement: str) -> float:
    begun = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - begun


def _result(seconds: Seconds, heard: dict[str, dict[str, int]], rows: int, version: str) -> Result:
    shown, verdicts = [], []
    for name, times in seconds.items():
        base, label = times["untriggered"], name.format(rows=rows)
        ratio = {design: ratios(times[design], base) for design in DESIGNS[1:]}
        said = [f"{heard[name][design]:,}" for design in ("rowcast", "row_trigger")]
        shown.append(row(label, f"{spread(base).median * 1000:,.1f} ms", *ratio.values(), *said))
        if name.startswith("UPDATE of {"):
            verdicts.append(Verdict(label, spread(ratio["rowcast"]).median, 1.3))
            verdicts.append(Verdict("its notifications", heard[name]["rowcast"], 500))
    columns = (
        *(NAMES[:1] + tuple(f"{name}, ÷ untriggered" for name in NAMES[1:])),
        "Rowcast, notifications",
        "seed, notifications",
    )
    return Result(
        "bulk",
        TARGET,
        TITLE,
        (Table(columns, tuple(shown)),),
        tuple(verdicts),
        about={"postgresql": version, "fsync": "on"},
    )
