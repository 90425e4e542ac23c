"""The `alembic` command and `rowcast migrate` are one: same result, same way back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING

import pytest

from bridge import config as config_file
from bridge import migrate
from tests.support import PATIENCE
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    Start = Callable[..., subprocess.Popen[str]]
    Run = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parents[2]

CONFIG = """
database: ${DATABASE_URL}
schema: our_own
tables:
  orders: {topics: ["orders/{id}", "customers/{customer}"]}
  "Odd:x":
    table: [public, "Odd :name. %s\\"$$"]
"""


@pytest.fixture
def file(connection: Connection, tmp_path: Path) -> Path:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int);"
        'CREATE TABLE "Odd :name. %s""$$" ("the key" text PRIMARY KEY)'
    )
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def start(database: str) -> Start:
    """Starts a module's command in the checkout."""

    def start(*words: str, config: Path) -> subprocess.Popen[str]:
        environment = os.environ | {"DATABASE_URL": database, "ROWCAST_CONFIG": str(config)}
        command = [sys.executable, "-m", *words]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=PIPE, stderr=STDOUT
        )

    return start


@pytest.fixture
def run(start: Start) -> Run:
    """Runs it to its end: (exit status, output)."""

    def run(*words: str, config: Path) -> tuple[int, str]:
        with start(*words, config=config) as process:
            output, _ = process.communicate(timeout=PATIENCE)
            return process.returncode, output

    return run


def test_upgrade_and_downgrade(file: Path, run: Run, connection: Connection) -> None:
    before = fingerprint(connection)
    assert run("bridge", "migrate", config=file)[0] == 0
    migrated = fingerprint(connection)
    assert run("bridge", "migrate", "--remove", config=file)[0] == 0
    assert fingerprint(connection) == before
    _, told = run("alembic", "-x", f"config={file}", "upgrade", "head", config=file / "nowhere")
    assert "Odd:x: set up triggers" in told
    assert fingerprint(connection) == migrated
    assert "nothing to do" in run("alembic", "upgrade", "head", config=file)[1]
    assert run("alembic", "downgrade", "base", config=file)[0] == 0
    assert fingerprint(connection) == before


def test_three_at_once(file: Path, start: Start) -> None:
    started = [start("bridge", "migrate", config=file) for _ in range(3)]
    told = [process.communicate(timeout=PATIENCE)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    lines = "".join(told).splitlines()
    assert lines.count("applied revision 0001: the epoch") == 1
    assert lines.count("orders: set up triggers") == 1


def test_check_tells_drift(file: Path, run: Run, connection: Connection) -> None:
    before = fingerprint(connection)
    assert "not up to date" in run("alembic", "check", config=file)[1]
    assert fingerprint(connection) == before
    assert run("alembic", "upgrade", "head", config=file)[0] == 0
    assert run("alembic", "check", config=file)[0] == 0
    connection.execute("ALTER TABLE orders DISABLE TRIGGER USER")
    status, told = run("alembic", "check", config=file)
    assert status != 0
    assert "ENABLE TRIGGER" in told


def test_autogenerate_never_proposes_to_drop_what_is_the_applications(
    file: Path, run: Run, connection: Connection
) -> None:
    connection.execute("CREATE TABLE unrelated (id int)")
    assert run("alembic", "upgrade", "head", config=file)[0] == 0
    assert "No new upgrade operations" in run("alembic", "check", config=file)[1]


def test_an_error_has_no_traceback(run: Run, tmp_path: Path) -> None:
    status, told = run("alembic", "current", config=tmp_path / "nowhere.yaml")
    assert status != 0
    assert "nowhere.yaml" in told
    assert "Traceback" not in told


@pytest.mark.skipif(not shutil.which("psql"), reason="needs psql")
def test_scripts_replay_in_psql(
    file: Path, run: Run, connection: Connection, database: str
) -> None:
    def psql(script: str) -> None:
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", database]
        subprocess.run(command, input=script, text=True, check=True, capture_output=True)

    before = fingerprint(connection)
    assert run("alembic", "upgrade", "head", config=file)[0] == 0
    migrated = fingerprint(connection)
    down = run("alembic", "downgrade", "0001:base", "--sql", config=file)[1]
    psql(down)
    assert fingerprint(connection) == before
    psql(run("alembic", "upgrade", "head", "--sql", config=file)[1])
    assert fingerprint(connection) == migrated
    assert run("bridge", "migrate", "--sql", config=file)[1] == "-- Nothing to do.\n"
    psql(down)
    psql(run("bridge", "migrate", "--sql", config=file)[1])
    assert fingerprint(connection) == migrated
    assert run("bridge", "migrate", "--plan", config=file)[1] == "nothing to do\n"


def test_the_script_of_a_later_change_is_only_that_change(
    file: Path, connection: Connection, database: str
) -> None:
    config = config_file.loads(CONFIG, env={"DATABASE_URL": database})
    migrate.apply(config, progress=lambda _: None)
    connection.execute("ALTER TABLE orders DISABLE TRIGGER USER")
    script = migrate.script(config)
    assert "CREATE TABLE" not in script
    assert script.count("ENABLE TRIGGER") == 4


def test_the_directory_does_not_hide_the_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    command = [sys.executable, "-c", "from alembic import op"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
