"""Brings a database to what the config says, and back.

Two halves. The bridge's own objects have a history: Alembic revisions, frozen SQL. The
triggers have none: they follow from config and catalog, so they are compared and
repaired (`triggers.plan`) after the revisions have run. `rowcast migrate` and
`alembic upgrade head` are one thing: both run `alembic/env.py`, which calls `install`.

Three rules. One at a time, by an advisory lock held in a transaction, which a pooler
respects too. One table per transaction, with a short lock_timeout, because whoever
waits for a lock makes every later writer wait behind it. And every step can be run
again: a migration that was killed is finished by the next one.

Alembic and SQLAlchemy are imported where they are used.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from hashlib import sha256
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from bridge import audit, catalog, definer, event_store, history, inventory, roles, schema, triggers
from bridge.backoff import Backoff
from bridge.drift import migratable
from bridge.errors import DatabaseError
from bridge.triggers import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import LiteralString

    from alembic.script import Script, ScriptDirectory
    from psycopg import Connection

    from bridge.config import Config
    from bridge.history import Progress

T = TypeVar("T")

TRIES = 30
"""Attempts at one table's locks, each of half a second at most, before giving up."""

_LOCK_TIMEOUT: LiteralString = "SET LOCAL lock_timeout = '500ms'"


def plan(config: Config, versions: Path | None = None) -> Plan:
    """What `apply` would do now. Raises `CatalogError`, `DatabaseError`."""
    found = history.directory(history.alembic_config(config, versions=versions))
    with _connect(config) as connection:
        inventory.whole(connection, config.schema)
        migratable(connection, config)
        waiting = history.pending(found, history.current(config, connection))
        steps: Iterable[Step] = _capture(config, connection)
    if history.reviewed(found):
        # What is left after revisions that have not run, only their run can tell.
        steps = () if not all(map(history.own, waiting)) else map(_unreviewed, steps)
    return Plan((*(_revision_step(config.schema, revision) for revision in waiting), *steps))


def apply(config: Config, *, progress: Progress, versions: Path | None = None) -> None:
    """Runs what `plan` says, telling each step. Raises `CatalogError`, `DatabaseError`."""
    from alembic import command

    with _connect(config) as connection:  # before anything is changed
        inventory.whole(connection, config.schema)
        migratable(connection, config)
        definer.asked(connection, config)
    with _explained("migrate"):
        command.upgrade(history.alembic_config(config, progress, versions=versions), "heads")


def remove(config: Config, *, progress: Progress, versions: Path | None = None) -> None:
    """Takes triggers, functions and the bridge's own objects out again."""
    from alembic import command

    with _connect(config) as connection:
        if not inventory.installed(connection, config.schema).schema:
            progress("nothing to remove")
            return
        migratable(connection, config)
    with _explained("migrate --remove"):
        command.downgrade(history.alembic_config(config, progress, versions=versions), "base")


def script(config: Config, versions: Path | None = None) -> str:
    """What `apply` would run now, as SQL for psql."""
    from alembic import command

    with _connect(config) as connection:
        migratable(connection, config)
        current = history.current(config, connection)
    if not plan(config, versions):
        return "-- Nothing to do.\n"
    output = StringIO()
    alembic = history.alembic_config(config, output=output, versions=versions)
    command.upgrade(alembic, f"{current[0]}:heads" if current else "heads", sql=True)
    return output.getvalue()


def grants(config: Config, role: str) -> str:
    """What a role needs to serve, as SQL for psql. Raises CatalogError."""
    with _connect(config) as connection:
        tables = catalog.resolved(connection, config)
        return roles.script(
            config.schema,
            tables,
            role,
            events=config.events,
            context=connection,
            definer=config.definer,
            viewers=config.rls.role if config.rls else None,
        )


def grant(config: Config, role: str, *, progress: Progress) -> None:
    """Runs what `grants` says, as one transaction. Raises `CatalogError`, `DatabaseError`."""
    script = grants(config, role)
    with _connect(config) as connection, connection.transaction():
        connection.execute(script.encode())
    progress(f"{role}: may serve")


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


def install(config: Config, progress: Progress, *, reviewed: bool = False) -> None:
    """Brings the triggers to what the config says, or, where reviewed revisions do that, tells
    what they have left out."""
    with _connect(config) as connection:
        steps = _capture(config, connection)
        for step in map(_unreviewed, steps) if reviewed else ():
            progress(f"{step.table}: {step.finding}: {step.summary}")
        if not reviewed:
            _run(connection, steps, progress)
        for line in _left(config, connection):
            progress(line)
        if not steps:
            progress(f"nothing to do: {len(config.tables)} tables are captured")


def uninstall(config: Config, progress: Progress) -> None:
    """Takes triggers and functions out, then the schema if nothing is left in it."""
    with _connect(config) as connection:
        _run(connection, _removal(config, connection), progress)
        for line in _left(config, connection, removed=True):
            progress(line)
        connection.execute(schema.drop(config.schema, config.definer).encode())
        if inventory.installed(connection, config.schema).schema:
            progress(f"{config.schema}: the schema stays, for it is not the bridge's alone")


def install_script(config: Config) -> str:
    """What `install` would run now, for psql, a transaction per step."""
    with _connect(config) as connection:
        return _script(_capture(config, connection))


def uninstall_script(config: Config) -> str:
    """What `uninstall` would run now, for psql."""
    with _connect(config) as connection:
        removed = schema.drop(config.schema, config.definer)
        return f"{_script(_removal(config, connection))}\n{removed};\n"


def proposed(config: Config) -> dict[str, list[str]]:
    """What `install` would run now and how to take it back, one by one, for a revision."""
    with _connect(config) as connection:
        steps = _capture(config, connection)
    upgrade = [text for step in steps for text in step.statements]
    return {"upgrade": upgrade, "downgrade": list(steps.undo)}


def frozen(config: Config, found: ScriptDirectory) -> tuple[dict[str, list[str]], list[Script]]:
    """The same, and the operator's revisions that have not run."""
    with _connect(config) as connection:
        inventory.whole(connection, config.schema)
        waiting = history.pending(found, history.current(config, connection))
    return proposed(config), [revision for revision in waiting if not history.own(revision)]


def patiently(what: str, attempt: Callable[[], T], progress: Progress) -> T:
    """Runs `attempt`, a transaction, again and again while others hold what it locks."""
    backoff = Backoff(first=0.1, cap=2.0)
    for n in range(1, TRIES + 1):
        try:
            return attempt()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            progress(f"{what}: in use, tried {n} of {TRIES} times")
        time.sleep(backoff.delay())
    raise DatabaseError(
        f"{what}: other transactions kept the table locked;"
        " run it again when they are done, what was installed so far stays"
    )


def _script(steps: Plan) -> str:
    return "\n".join(
        ";\n".join(("BEGIN", _LOCK_TIMEOUT, *step.statements, "COMMIT;\n")) for step in steps
    )


def _removal(config: Config, connection: Connection[Any]) -> Plan:
    installed = inventory.installed(connection, config.schema)
    return triggers.plan((), installed, config.schema, config.definer)


def _capture(config: Config, connection: Connection[Any]) -> Plan:
    captures = triggers.desired(definer.asked(connection, config).values(), config.schema)
    installed = inventory.installed(connection, config.schema)
    return triggers.plan(captures, installed, config.schema, config.definer)


def left(config: Config) -> list[str]:
    """What `apply` would leave in place and unused."""
    with _connect(config) as connection:
        return _left(config, connection)


def _left(config: Config, connection: Connection[Any], *, removed: bool = False) -> list[str]:
    installed = inventory.installed(connection, config.schema)
    audits = any(table.audit for table in config.tables.values())
    found = (
        (config.events, event_store.left(config.schema, installed)),
        (audits, audit.left(config.schema, installed)),
        (True, definer.left(config)),
    )
    return [said for asked, said in found if said and (removed or not asked)]


def _unreviewed(step: Step) -> Step:
    remedy = "in no revision; `rowcast revision` writes one"
    return Step(step.table, step.finding, remedy, ())


def _revision_step(place: str, script: Script) -> Step:
    finding = f"revision {script.revision} has not run"
    return Step(place, finding, f"run revision {script.revision}: {script.doc}", ())


def _run(connection: Connection[Any], steps: Plan, progress: Progress) -> None:
    for step in steps:
        progress(f"{step.table}: {step.summary}")
        _persist(connection, step, progress)


def _persist(connection: Connection[Any], step: Step, progress: Progress) -> None:
    try:
        patiently(step.table, lambda: _attempt(connection, step), progress)
    except psycopg.errors.InsufficientPrivilege as error:
        reason = str(error).strip()
        raise DatabaseError(f"{step.table}: {reason}; migrate as the table's owner") from None


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
