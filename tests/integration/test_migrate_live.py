"""Migrations of a database in use: how long writers wait, and what a killed one leaves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from bridge import catalog, inventory, migrate
from bridge.cli import main
from bridge.drift import drift as found_drift
from bridge.errors import DatabaseError
from tests.support import PATIENCE, connect
from tests.support.capture import config, entry
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from psycopg import Connection

    from bridge.config import Config

ROOT = Path(__file__).parents[2]
WRITERS = 20
LOCK_TIMEOUT = 0.5
"""Seconds, the lock_timeout of a migration."""

# The wait is measured by the server, around the statement that needs the lock.
WRITE = """
DO $$
DECLARE began timestamptz := clock_timestamp();
BEGIN
    INSERT INTO orders (note) VALUES ('x');
    INSERT INTO waits VALUES (extract(epoch FROM clock_timestamp() - began));
END $$
"""


@pytest.fixture
def shop(connection: Connection, database: str) -> Config:
    connection.execute(
        "CREATE TABLE orders (id bigserial PRIMARY KEY, note text); CREATE TABLE waits (s float8);"
        "CREATE TABLE items (id int PRIMARY KEY, of bigint REFERENCES orders);"
        "CREATE TABLE notes (id int PRIMARY KEY) PARTITION BY LIST (id);"
        "CREATE TABLE note PARTITION OF notes FOR VALUES IN (1)"
    )
    items = entry("items", refreshes="orders", topics=("items/{id}",))
    return config(entry("orders"), items, entry("notes", trigger="row"), database=database)


def settled(connection: Connection, settings: Config) -> bool:
    tables = catalog.resolved(connection, settings)
    return found_drift(connection, settings, tables) == []


def test_who_holds_a_table_for_long_makes_nobody_wait_longer_than_the_timeout(
    shop: Config, connection: Connection, admin: Connection, database: str
) -> None:
    """Until the migration has been turned away five times, twenty writers go on writing."""
    turned_away, stop = threading.Semaphore(0), threading.Event()

    def progress(line: str) -> None:
        if "in use" in line:
            turned_away.release()

    def write(enough: int | None = None) -> None:
        with connect(database) as writer:
            while not stop.is_set() and enough != 0:
                writer.execute(WRITE)
                enough = enough and enough - 1

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        list(pool.map(write, [50] * WRITERS))
        admin.execute("BEGIN; INSERT INTO orders (note) VALUES ('long')")
        began = time.monotonic()
        writers = [pool.submit(write) for _ in range(WRITERS)]
        run = pool.submit(migrate.apply, shop, progress=progress)
        try:
            assert all(turned_away.acquire(timeout=PATIENCE) for _ in range(5))
        finally:
            admin.execute("COMMIT")
            held = time.monotonic() - began
            run.exception(PATIENCE)
            stop.set()
        assert not any(writer.exception() for writer in writers)
        run.result()
    assert settled(connection, shop)
    longest, typical = waits(connection)
    # Behind the migration for one timeout, not for as long as the table was held.
    assert LOCK_TIMEOUT / 2 < longest < held / 2
    assert typical < longest / 2


def waits(connection: Connection) -> tuple[float, float]:
    """The longest and the median so far, in seconds."""
    query = "SELECT max(s), percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM waits"
    return connection.execute(query).fetchone() or (0.0, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_killed_anywhere_the_next_one_finishes_it(
    shop: Config,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """The backend is gone after a random number of statements, inside and between steps."""
    left = random.Random(seed).randrange(1, 40)
    execute = psycopg.Connection.execute

    def dying(self: Connection, *args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and self is not connection:
            execute(connection, "SELECT pg_terminate_backend(%s)", (self.info.backend_pid,))
        return execute(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", dying)
        with suppress(DatabaseError, psycopg.Error):
            migrate.apply(shop, progress=lambda _: None)
    assert left <= 0
    migrate.apply(shop, progress=lambda _: None)
    assert settled(connection, shop)
    found = inventory.installed(connection, "rowcast")
    assert (len(found.functions), len(found.triggers)) == (3, 12)


KILLED = """
import os, signal, sys
from pathlib import Path
from bridge import config, migrate
told = 0
def progress(line):
    global told
    told += 1
    if told == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
migrate.apply(config.load(Path(sys.argv[1])), progress=progress)
"""


def test_a_killed_process_leaves_nothing_that_stays(
    shop: Config, connection: Connection, database: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"database: {database}\ntables:\n  orders:\n"
        "  items: {refreshes: orders, topics: ['items/{id}']}\n  notes: {trigger: row}\n",
        encoding="utf-8",
    )
    before = fingerprint(connection)
    for line in "1221":
        command = [sys.executable, "-c", KILLED, str(path), line]
        done = subprocess.run(command, cwd=ROOT, check=False, env=os.environ)
        assert done.returncode == -9
    migrate.apply(shop, progress=lambda _: None)
    assert settled(connection, shop)
    migrate.remove(shop, progress=lambda _: None)
    assert fingerprint(connection) == before


def test_the_plan_says_who_waits_for_what(
    connection: Connection, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
    path = tmp_path / "config.yaml"

    def planned(entry: str) -> str:
        path.write_text(f"database: {database}\ntables:\n  {entry}\n", encoding="utf-8")
        assert main(["migrate", "--plan", "--config", str(path)]) == 0
        return capsys.readouterr().out

    assert planned("Bestellungen: {table: orders}") == (
        "rowcast: run revision 0001: the epoch\n"
        "    now    revision 0001 has not run\n"
        "Bestellungen: set up triggers\n"
        "    now    function, insert trigger, update trigger, delete trigger, truncate trigger"
        " missing\n"
        "    lock   SHARE ROW EXCLUSIVE on public.orders: writers wait until it is done,"
        " readers do not\n"
    )
    assert main(["migrate", "--config", str(path)]) == 0
    capsys.readouterr()
    assert "lock   none on any table: nobody waits" in planned(
        "Bestellungen: {table: orders, changed: [n]}"
    )
    assert "ACCESS EXCLUSIVE on public.orders: readers and writers wait" in planned(
        "Bestellungen: {table: orders, operations: [insert]}"
    )
