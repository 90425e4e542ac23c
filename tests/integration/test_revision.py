"""Reviewed migrations: a revision of frozen SQL does what `migrate` would, and takes it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, STDOUT
from threading import Event
from typing import TYPE_CHECKING

import pytest

from bridge import config as config_file
from bridge import history, migrate, revisions
from bridge.errors import DatabaseError
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from bridge.config import Config

    Settings = Callable[[str], Config]

ROOT = Path(__file__).parents[2]
FIRST = """
  orders: {exclude: [secret], where: "note <> 'a:b \\\\ \\"\\"\\" %s'"}
  items: {refreshes: orders, trigger: row}
"""
SECOND = """
  orders: {exclude: [secret], topics: ["notes/{note}"]}
  items: {refreshes: orders, operations: [insert]}
  "Odd:x": {table: 'public."Odd :name. %s""$$"'}
"""


@pytest.fixture
def settings(connection: Connection, database: str) -> Settings:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, note text, secret text);"
        "CREATE TABLE items (order_id int REFERENCES orders) PARTITION BY LIST (order_id);"
        "CREATE TABLE one PARTITION OF items FOR VALUES IN (1);"
        'CREATE TABLE "Odd :name. %s""$$" ("the key" text PRIMARY KEY)'
    )
    env = {"DATABASE_URL": database}
    return lambda tables: config_file.loads(f"tables:\n{tables}", env=env)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    return tmp_path / "versions"


def apply(config: Config, versions: Path | None = None) -> list[str]:
    lines: list[str] = []
    migrate.apply(config, progress=lines.append, versions=versions)
    return lines


def downgrade(config: Config, versions: Path, to: str) -> None:
    from alembic import command

    command.downgrade(history.alembic_config(config, versions=versions), to)


def test_it_does_what_migrate_does_and_restores_what_was_there(
    settings: Settings, connection: Connection, versions: Path
) -> None:
    """Twice: from nothing, and from one config to another."""
    untouched = fingerprint(connection)
    first, second = settings(FIRST), settings(SECOND)
    assert revisions.write(first, "the first", versions)
    apply(first, versions)
    one = fingerprint(connection)
    assert revisions.write(second, "the second", versions)
    apply(second, versions)
    two = fingerprint(connection)
    assert two != one
    downgrade(second, versions, "-1")
    assert fingerprint(connection) == one
    apply(second, versions)
    assert fingerprint(connection) == two
    migrate.remove(second, progress=lambda _: None, versions=versions)
    assert fingerprint(connection) == untouched


def test_it_leaves_what_migrate_leaves(
    settings: Settings, connection: Connection, versions: Path
) -> None:
    config = settings(FIRST)
    revisions.write(config, "the first", versions)
    apply(config, versions)
    by_revision = {row for row in fingerprint(connection) if row[0] in ("function", "trigger")}
    migrate.remove(config, progress=lambda _: None, versions=versions)
    apply(config)
    by_migrate = {row for row in fingerprint(connection) if row[0] in ("function", "trigger")}
    assert by_revision == by_migrate


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE orders DISABLE TRIGGER {}",
        "ALTER TABLE orders ENABLE REPLICA TRIGGER {}",
        "ALTER TABLE orders ENABLE ALWAYS TRIGGER {}; COMMENT ON FUNCTION rowcast.{f}() IS NULL",
        "DROP TRIGGER {} ON orders",
        "DROP TRIGGER {0} ON orders; CREATE TRIGGER {0} AFTER INSERT ON orders"
        " FOR EACH ROW WHEN (NEW.id > 5) EXECUTE FUNCTION rowcast.{f}()",
        "ALTER FUNCTION rowcast.{f}() SECURITY DEFINER SET work_mem = '1MB'",
        "COMMENT ON FUNCTION rowcast.{f}() IS 'it''s : odd'",
    ],
)
def test_the_way_back_is_to_the_letter(
    settings: Settings, connection: Connection, versions: Path, damage: str
) -> None:
    config = settings("  orders:\n")
    apply(config)
    (trigger, function) = connection.execute(
        "SELECT tgname, proname FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid"
        " WHERE tgname ~ 'rowcast_insert'"
    ).fetchone() or ("", "")
    connection.execute(damage.format(trigger, f=function))
    damaged = fingerprint(connection)
    assert revisions.write(config, "mend it", versions)
    apply(config, versions)
    assert fingerprint(connection) != damaged
    assert revisions.write(config, "nothing left", versions) is None
    downgrade(config, versions, "-1")
    assert fingerprint(connection) == damaged


def test_the_file_is_for_reading_and_stands_alone(settings: Settings, versions: Path) -> None:
    written = revisions.write(settings(FIRST), 'say "what" \\ it is', versions)
    assert written
    text = written.read_text(encoding="utf-8")
    assert "import bridge" not in text
    assert "from bridge" not in text
    assert "\nCREATE OR REPLACE FUNCTION" in text  # as it will run, from the margin on
    assert "\nBEGIN\n" in text
    assert "SET LOCAL lock_timeout" in text
    compile(text, str(written), "exec", dont_inherit=True)


def test_nothing_to_do_is_no_file(settings: Settings, versions: Path) -> None:
    config = settings(FIRST)
    apply(config)
    assert revisions.write(config, "nothing", versions) is None
    assert not versions.exists()


def test_one_at_a_time(settings: Settings, versions: Path) -> None:
    assert revisions.write(settings(FIRST), "the first", versions)
    with pytest.raises(DatabaseError, match="has not run; run `rowcast migrate` first"):
        revisions.write(settings(SECOND), "the second", versions)


def test_with_reviewed_revisions_migrate_runs_them_and_nothing_else(
    settings: Settings, connection: Connection, versions: Path
) -> None:
    first, second = settings(FIRST), settings(SECOND)
    revisions.write(first, "the first", versions)
    assert [step.summary for step in migrate.plan(first, versions)] == [
        "run revision 0001: the epoch",
        f"run revision {_heads(first, versions)}: the first",
    ]
    assert apply(first, versions)[-1] == "nothing to do: 2 tables are captured"
    captured = fingerprint(connection)
    told = apply(second, versions)
    assert any("in no revision; `rowcast revision` writes one" in line for line in told)
    assert fingerprint(connection) == captured
    assert all(not step.statements for step in migrate.plan(second, versions))
    assert migrate.plan(second, versions)


def _heads(config: Config, versions: Path) -> str:
    return "".join(history.directory(history.alembic_config(config, versions=versions)).get_heads())


def test_it_gives_way_to_writers_and_tries_again(
    settings: Settings, connection: Connection, admin: Connection, versions: Path
) -> None:
    config = settings(FIRST)
    revisions.write(config, "the first", versions)
    admin.execute("BEGIN; INSERT INTO orders VALUES (1)")
    busy = Event()

    def progress(line: str) -> None:
        if "in use" in line:
            busy.set()

    with ThreadPoolExecutor() as pool:
        run = pool.submit(migrate.apply, config, progress=progress, versions=versions)
        assert busy.wait(60)
        connection.execute("INSERT INTO orders VALUES (2)")
        admin.execute("COMMIT")
        run.result(60)
    assert not migrate.plan(config, versions)


@pytest.mark.skipif(not shutil.which("psql"), reason="needs psql")
def test_its_script_replays_in_psql(
    settings: Settings, connection: Connection, database: str, versions: Path
) -> None:
    config = settings(FIRST)
    revisions.write(config, "the first", versions)
    script = migrate.script(config, versions)
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", database]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)
    replayed = fingerprint(connection)
    assert migrate.script(config, versions) == "-- Nothing to do.\n"
    migrate.remove(config, progress=lambda _: None, versions=versions)
    apply(config, versions)
    assert fingerprint(connection) == replayed


def checkout(path: Path) -> Path:
    """What `alembic` sees of a checkout, to be written into."""
    shutil.copytree(ROOT / "alembic", path / "alembic")
    shutil.copy(ROOT / "alembic.ini", path)
    return path


def test_alembic_writes_and_runs_the_same(
    settings: Settings, connection: Connection, database: str, tmp_path: Path
) -> None:
    settings(FIRST)
    place = checkout(tmp_path)
    (place / "config.yaml").write_text(f"tables:\n{FIRST}", encoding="utf-8")
    environment = os.environ | {"DATABASE_URL": database, "PYTHONPATH": str(ROOT)}

    def alembic(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "alembic", "-x", "config=config.yaml", *words]
        done = subprocess.run(
            command, cwd=place, env=environment, text=True, stdout=PIPE, stderr=STDOUT, check=False
        )
        return done.returncode, done.stdout

    assert alembic("upgrade", "head")[0] == 0
    before = fingerprint(connection)
    (place / "config.yaml").write_text(f"tables:\n{SECOND}", encoding="utf-8")
    assert alembic("check")[0] != 0
    status, told = alembic("revision", "--autogenerate", "-m", "the first")
    assert status == 0, told
    (written,) = set((place / "alembic/versions").glob("*_the_first.py"))
    assert "import bridge" not in written.read_text(encoding="utf-8")
    status, told = alembic("upgrade", "head")
    assert status == 0, told
    assert alembic("check")[0] == 0
    assert "no revision written" in alembic("revision", "--autogenerate", "-m", "none")[1]
    assert not set((place / "alembic/versions").glob("*_none.py"))
    assert alembic("downgrade", "-1")[0] == 0
    assert fingerprint(connection) == before


def test_the_command(settings: Settings, database: str, tmp_path: Path, versions: Path) -> None:
    settings(FIRST)
    (tmp_path / "config.yaml").write_text(f"tables:\n{FIRST}", encoding="utf-8")
    environment = os.environ | {"DATABASE_URL": database, "PYTHONPATH": str(ROOT)}

    def rowcast(*words: str) -> str:
        command = [sys.executable, "-m", "bridge", *words, "--versions", str(versions)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
        )
        return done.stdout

    assert "wrote " in rowcast("revision", "-m", "the first")
    assert "run revision" in rowcast("migrate", "--plan")
    assert "applied revision" in rowcast("migrate")
    assert rowcast("revision", "-m", "again") == "nothing to do: no revision written\n"
