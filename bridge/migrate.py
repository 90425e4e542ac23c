"""Brings a database to what the config says, and back.

Two halves. The bridge's own objects have a history: Alembic revisions, frozen SQL. The
triggers have none: they follow from config and catalog, so they are compared and
repaired (`triggers.plan`) after the revisions have run. `rowcast migrate` and
`alembic upgrade head` are one thing: both run `alembic/env.py`, which calls `install`.

Three rules. One at a time, by an advisory lock held in a transaction, which a pooler
respects too. One table per transaction, with a short lock_timeout, because whoever
waits for a lock makes every later writer wait behind it. And every step can be run
again: a migration that was killed is finished by the next one.

Alembic and SQLAlchemy are imported where they are used; `drift`, which `serve` and
`check` need, does without.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from bridge import catalog, inventory, schema, triggers
from bridge.backoff import Backoff
from bridge.errors import DatabaseError
from bridge.triggers import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import LiteralString, TypeAlias

    from alembic.config import Config as AlembicConfig
    from psycopg import Connection

    from bridge.config import Config
    from bridge.tables import Table

    Progress: TypeAlias = Callable[[str], None]

TRIES = 30
"""Attempts at one table's locks, each of half a second at most, before giving up."""

_LOCK_TIMEOUT: LiteralString = "SET LOCAL lock_timeout = '500ms'"


class Drift(NamedTuple):
    """One difference between config and database; `table` is empty for the bridge's own objects."""

    table: str
    message: str


def drift(connection: Connection[Any], config: Config, tables: Mapping[str, Table]) -> list[Drift]:
    """What `rowcast migrate` would mend, but for revisions; empty where all is well."""
    installed = inventory.installed(connection, config.schema)
    if not installed.epoch:
        return [Drift("", f"the schema {config.schema} is missing or not complete")]
    captures = triggers.desired(tables.values(), config.schema)
    steps = triggers.plan(captures, installed, config.schema)
    return [Drift(step.table, step.finding) for step in steps]


def plan(config: Config) -> Plan:
    """What `apply` would do now. Raises `CatalogError`, `DatabaseError`."""
    with _connect(config) as connection:
        return Plan((*_pending(config, connection), *_capture(config, connection)))


def apply(config: Config, *, progress: Progress) -> None:
    """Runs what `plan` says, telling each step. Raises `CatalogError`, `DatabaseError`."""
    from alembic import command

    with _connect(config) as connection:
        catalog.resolved(connection, config)  # before anything is changed
    with _explained("migrate"):
        command.upgrade(alembic_config(config, progress), "head")


def remove(config: Config, *, progress: Progress) -> None:
    """Takes triggers, functions and the bridge's own objects out again."""
    from alembic import command

    with _connect(config) as connection:
        if not inventory.installed(connection, config.schema).schema:
            progress("nothing to remove")
            return
    with _explained("migrate --remove"):
        command.downgrade(alembic_config(config, progress), "base")


def script(config: Config) -> str:
    """What `apply` would run now, as SQL for psql."""
    from alembic import command

    with _connect(config) as connection:
        current = _revision(config, connection)
        if not (_pending(config, connection) or _capture(config, connection)):
            return "-- Nothing to do.\n"
    output = StringIO()
    alembic = alembic_config(config, lambda _: None, output)
    command.upgrade(alembic, f"{current}:head" if current else "head", sql=True)
    return output.getvalue()


def alembic_config(
    config: Config, progress: Progress, output: StringIO | None = None
) -> AlembicConfig:
    """Alembic's configuration for this config; its scripts are found in checkout and wheel."""
    from alembic.config import Config as AlembicConfig

    alembic = AlembicConfig(output_buffer=output) if output else AlembicConfig()
    alembic.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    alembic.set_main_option("path_separator", "os")
    alembic.attributes.update(config=config, progress=progress)
    return alembic


# What alembic/env.py calls.


@contextmanager
def alone(config: Config, progress: Progress) -> Iterator[None]:
    """Inside, no other migration of this schema runs."""
    key = int.from_bytes(sha256(f"rowcast migrate {config.schema}".encode()).digest()[:7])
    with _connect(config) as connection, connection.transaction():
        free = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (key,)).fetchone()
        if free != (True,):
            progress("another migration is running: waiting for its end")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        yield


def install(config: Config, progress: Progress) -> None:
    """Brings the triggers to what the config says."""
    with _connect(config) as connection:
        steps = _capture(config, connection)
        _run(connection, steps, progress)
        if not steps:
            progress(f"nothing to do: {len(config.tables)} tables are captured")


def uninstall(config: Config, progress: Progress) -> None:
    """Takes triggers and functions out, then the schema if nothing is left in it."""
    with _connect(config) as connection:
        _run(connection, _removal(config, connection), progress)
        connection.execute(schema.drop(config.schema).encode())
        if inventory.installed(connection, config.schema).schema:
            progress(f"{config.schema}: the schema stays, for it is not the bridge's alone")


def install_script(config: Config) -> str:
    """What `install` would run now, for psql, a transaction per step."""
    with _connect(config) as connection:
        return _script(_capture(config, connection))


def uninstall_script(config: Config) -> str:
    """What `uninstall` would run now, for psql."""
    with _connect(config) as connection:
        return f"{_script(_removal(config, connection))}\n{schema.drop(config.schema)};\n"


def statements(config: Config) -> list[str]:
    """What `install` would run now, one by one, for a revision."""
    with _connect(config) as connection:
        return [text for step in _capture(config, connection) for text in step.statements]


def _script(steps: Plan) -> str:
    return "\n".join(
        ";\n".join(("BEGIN", _LOCK_TIMEOUT, *step.statements, "COMMIT;\n")) for step in steps
    )


def _removal(config: Config, connection: Connection[Any]) -> Plan:
    return triggers.plan((), inventory.installed(connection, config.schema), config.schema)


def _capture(config: Config, connection: Connection[Any]) -> Plan:
    captures = triggers.desired(catalog.asked(connection, config).values(), config.schema)
    return triggers.plan(captures, inventory.installed(connection, config.schema), config.schema)


def _pending(config: Config, connection: Connection[Any]) -> list[Step]:
    """Revisions that have not run. Their SQL is Alembic's to run, so none is given here."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config(config, lambda _: None))
    current = _revision(config, connection) or "base"
    pending = reversed(list(scripts.iterate_revisions("head", current)))
    return [_revision_step(config.schema, script.revision, script.doc) for script in pending]


def _revision_step(place: str, revision: str, doc: str) -> Step:
    finding = f"revision {revision} has not run"
    return Step(place, finding, f"run revision {revision}: {doc}", ())


def _revision(config: Config, connection: Connection[Any]) -> str | None:
    """The revision that the database is at."""
    table = schema.version_table(config.schema)
    exists = "SELECT to_regclass(%s) IS NOT NULL"
    if connection.execute(exists, (table.as_string(connection),)).fetchone() != (True,):
        return None
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchone()
    return row and str(row[0])


def _run(connection: Connection[Any], steps: Plan, progress: Progress) -> None:
    for step in steps:
        progress(f"{step.table}: {step.summary}")
        _persist(connection, step, progress)


def _persist(connection: Connection[Any], step: Step, progress: Progress) -> None:
    """Runs one step, again and again while others hold the table."""
    backoff = Backoff(first=0.1, cap=2.0)
    for attempt in range(1, TRIES + 1):
        try:
            return _attempt(connection, step)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            progress(f"{step.table}: in use, tried {attempt} of {TRIES} times")
        except psycopg.errors.InsufficientPrivilege as error:
            reason = str(error).strip()
            raise DatabaseError(f"{step.table}: {reason}; migrate as the table's owner") from None
        time.sleep(backoff.delay())
    raise DatabaseError(
        f"{step.table}: other transactions kept the table locked;"
        " run it again when they are done, what was installed so far stays"
    )


def _attempt(connection: Connection[Any], step: Step) -> None:
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT)
        for statement in step.statements:
            connection.execute(statement.encode())


@contextmanager
def _connect(config: Config) -> Iterator[Connection[Any]]:
    with _explained("connect"):
        connection = psycopg.connect(
            config.database, autocommit=True, connect_timeout=10, application_name="rowcast migrate"
        )
    with connection, _explained("migrate"):
        yield connection


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """PostgreSQL's errors as `DatabaseError`, without its DETAIL, which may hold data."""
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).strip()
        raise DatabaseError(f"cannot {what}: {reason}") from None


def _scripts() -> Path:
    """`migrations` inside an installed package, `alembic` at the top of a checkout."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "alembic"
