"""What capture costs one statement over many rows, beside no capture and a trigger per row.

    python bench/bulk.py [--pg 15] [--rows 100000] [--rounds 7]

Four tables hold the same rows: untriggered; with statement triggers that keep the rows and
do nothing, which is the least that PostgreSQL lets capture cost; captured by the bridge;
and with the design that tutorials have, a row-level trigger that calls pg_notify with what
json_build_object makes of table, action, key and time. Each round runs each statement on
all four, beginning with another one each time, so that what else the machine does falls
on all alike. A round's result is the ratio to the untriggered time of that same round;
shown are its median and its quartiles. Commits wait for the disk (fsync is on).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect
from tests.support.capture import Ear, entry, watch

DESIGNS = ("untriggered", "does_nothing", "rowcast", "row_trigger")

TABLE = """
CREATE TABLE {table} (id int PRIMARY KEY, customer int, status text, total numeric(10,2));
INSERT INTO {table} SELECT n, n % 100, 'placed', n % 1000 FROM generate_series(1, {rows}) n;
"""

OTHERS = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER i AFTER INSERT ON does_nothing REFERENCING NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER u AFTER UPDATE ON does_nothing REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER d AFTER DELETE ON does_nothing REFERENCING OLD TABLE AS o
    FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE FUNCTION notify_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('seed', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP,
        'key', coalesce(NEW.id, OLD.id), 'time', clock_timestamp())::text);
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON row_trigger
    FOR EACH ROW EXECUTE FUNCTION notify_row();
"""

STATEMENTS = {
    "update": "UPDATE {table} SET status = 'round {round}', total = total + 1",
    "update of 1,000": "UPDATE {table} SET total = total + 1 WHERE id <= 1000",
    "delete": "DELETE FROM {table}",
    "insert": "INSERT INTO {table}"
    " SELECT n, n % 100, 'placed', n % 1000 FROM generate_series(1, {rows}) n",
}


def main() -> None:
    arguments = _arguments()
    binaries = find_binaries(arguments.pg)
    with Postgres.start(binaries=binaries, settings={"autovacuum": "off"}, durable=True) as server:
        seconds, heard = measure(server.url(), arguments.rows, arguments.rounds)
        report = {
            "postgresql": server.version,
            "rows": arguments.rows,
            "rounds": arguments.rounds,
            "ratios": {name: ratios(times) for name, times in seconds.items()},
            "notifications": heard,
        }
    shown = json.dumps(report, indent=2) if arguments.json else table(report, seconds)
    print(shown)  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


Seconds = dict[str, dict[str, list[float]]]


def measure(url: str, rows: int, rounds: int) -> tuple[Seconds, dict[str, dict[str, int]]]:
    """Seconds by statement, design and round; and notifications by statement and design."""
    seconds: Seconds = {name: {design: [] for design in DESIGNS} for name in STATEMENTS}
    heard: dict[str, dict[str, int]] = {name: {} for name in STATEMENTS}
    with connect(url) as connection, connect(url) as ours, connect(url) as theirs:
        prepare(connection, rows)
        ears = {"rowcast": Ear(ours, {}), "row_trigger": Ear(theirs, {}, channel="seed")}
        for number in range(rounds + 1):
            for name, statement in STATEMENTS.items():
                for design in rotated(number):
                    text = statement.format(table=design, round=number, rows=rows)
                    elapsed = timed(connection, text)
                    if number:  # round 0 fills caches
                        seconds[name][design].append(elapsed)
                heard[name] = {design: len(ear.payloads()) for design, ear in ears.items()}
            for design in DESIGNS:
                connection.execute(f"VACUUM {design}".encode())
            connection.execute("CHECKPOINT")
    return seconds, heard


def prepare(connection: Any, rows: int) -> None:
    for design in DESIGNS:
        connection.execute(TABLE.format(table=design, rows=rows))
        connection.execute(f"VACUUM ANALYZE {design}")
    connection.execute(OTHERS)
    watch(connection, entry("rowcast", topics=("orders/{id}", "customers/{customer}/orders")))


def rotated(number: int) -> tuple[str, ...]:
    first = number % len(DESIGNS)
    return DESIGNS[first:] + DESIGNS[:first]


def timed(connection: Any, statement: str) -> float:
    begun = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - begun


def ratios(times: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Median, lower and upper quartile of time ÷ untriggered time of the same round."""
    return {design: spread(times[design], times["untriggered"]) for design in DESIGNS[1:]}


def spread(times: list[float], base: list[float]) -> tuple[float, float, float]:
    values = [one / other for one, other in zip(times, base, strict=True)]
    lower, _, upper = quantiles(values, n=4)
    return round(median(values), 2), round(lower, 2), round(upper, 2)


def table(report: dict[str, Any], seconds: Seconds) -> str:
    lines = [
        f"PostgreSQL {report['postgresql']}, {report['rows']:,} rows, {report['rounds']} rounds:"
        " time ÷ untriggered, median (quartiles), and notifications\n",
        "| statement | untriggered | does nothing | rowcast | | row trigger | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in report["ratios"].items():
        heard = report["notifications"][name]
        cells = [f"{median(seconds[name]['untriggered']) * 1000:,.1f} ms"]
        for design in DESIGNS[1:]:
            middle, lower, upper = found[design]
            cells.append(f"{middle:.2f} ({lower:.2f}–{upper:.2f})")
            if design in heard:
                cells.append(f"{heard[design]:,}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
