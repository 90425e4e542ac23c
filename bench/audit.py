"""What an audit costs the application's statements, beside capture alone.

    python bench/audit.py [--pg 15] [--rows 100000] [--rounds 7]

Three tables hold the same rows and are captured, durable all of them; one is audited, and
one with all values. Each round runs each statement on all three, beginning with another one
each time; "one row" is a thousand of them one after the other. A round's result is the ratio
to the same round's time without an audit; shown are medians and quartiles. Commits wait for
the disk (fsync is on).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge.config import AuditConfig
from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect
from tests.support.capture import entry, watch

AUDITS = {"plain": None, "audited": AuditConfig(), "with_values": AuditConfig(None)}

TABLE = """
CREATE TABLE {table} (id int PRIMARY KEY, customer int, status text, total numeric(10,2));
INSERT INTO {table} SELECT n, n % 100, 'placed', n % 1000 FROM generate_series(1, {rows}) n;
"""
STATEMENTS = {
    "updates of one row": "DO $$ BEGIN FOR n IN 1..1000 LOOP"
    " UPDATE {table} SET total = total + 1 WHERE id = n; END LOOP; END $$",
    "update of 1,000": "UPDATE {table} SET total = total + 1 WHERE id <= 1000",
    "update of all": "UPDATE {table} SET total = total + 1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pg", help="which PostgreSQL, as for ./dev test")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    binaries = find_binaries(arguments.pg)
    with Postgres.start(binaries=binaries, settings={"autovacuum": "off"}, durable=True) as server:
        sys.stdout.write(
            f"PostgreSQL {server.version}, {arguments.rows} rows, {arguments.rounds} rounds\n"
        )
        for name, ratios in measure(server.url(), arguments.rows, arguments.rounds).items():
            low, middle, high = quantiles(ratios, n=4)
            sys.stdout.write(f"{name:40} {middle:5.2f}  ({low:.2f}–{high:.2f})\n")


def measure(url: str, rows: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with connect(url) as connection:
        for table in AUDITS:
            connection.execute(TABLE.format(table=table, rows=rows).encode())
        entries = (entry(name, durable=True, audit=audit) for name, audit in AUDITS.items())
        watch(connection, *entries)
        for n in range(rounds):
            order = [*AUDITS][n % 3 :] + [*AUDITS][: n % 3]
            for name, statement in STATEMENTS.items():
                times = {table: _time(url, statement, table) for table in order}
                for table in ("audited", "with_values"):
                    ratio = times[table] / times["plain"]
                    found.setdefault(f"{name}, {table.replace('_', ' ')}", []).append(ratio)
            connection.execute("TRUNCATE rowcast.audit, rowcast.changes")
            connection.execute("VACUUM " + ", ".join(AUDITS))  # type: ignore[arg-type]
    return found


def _time(url: str, statement: str, table: str) -> float:
    with connect(url) as session:
        began = time.perf_counter()
        session.execute(statement.format(table=table).encode())
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
