"""Whether PostgreSQL takes the SQL that the config has in it. Reads only.

The operator's text is tried where the trigger will have it: in a WHERE over the table's
columns, in a session set as the trigger's is, with PostgreSQL's own things alone on its
search_path. Rows are read in sessions that have another, because policies and the functions in
views may need it: so the text has to mean the same under both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from bridge.tables import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from bridge.config import Config
    from bridge.errors import Problem
    from bridge.tables import Column, Table

_SESSION = SETTINGS | {"search_path": "pg_catalog, pg_temp"}
# Policies are not what is asked about, and may fail for who is nobody's viewer. Where they
# would apply this is a missing right, which is told after the text was understood.
_ALONE = {"row_security": "off"}
# A parameter where there are none is a breach of protocol.
_ALSO = (psycopg.NotSupportedError, psycopg.errors.ProtocolViolation)
_TRY = sql.SQL("SELECT {} FROM {} AS t LIMIT 0")
_TRIAL = sql.SQL("CREATE TEMP TABLE {trial} (LIKE {table}); GRANT SELECT ON {trial} TO {role}")
_VIEW = sql.SQL("CREATE TEMP VIEW {} AS SELECT 1 AS one FROM {} AS t")
_PATH = "SELECT pg_catalog.set_config('search_path', %s, true)"
_WRITTEN = "SELECT pg_catalog.pg_get_viewdef('pg_temp.rowcast_trial'::pg_catalog.regclass)"
_ORDER = sql.SQL("SELECT FROM {} AS t ORDER BY {} LIMIT 0")


def problems(
    connection: Connection[Any], config: Config, tables: Mapping[str, Table]
) -> Iterator[Problem]:
    """What is wrong with each table's `where`, what `through` leads to, and its `position`."""
    for table in tables.values():
        at = "tables", table.name
        if table.where and (reason := _refusal(connection, table, ())):
            message = f"{reason}; it is SQL about the row: qualify names with their schema"
            yield config.problem(message, *at, "where")
        elif table.parent and (reason := _refusal(connection, table, table.parent.texts("t"))):
            message = f"{reason}; its columns must fit the key of {table.parent.table!r}"
            yield config.problem(message, *at, "through")
        # Where the oid is 0, a migration has yet to make the table.
        if (
            table.oid
            and table.position
            and (reason := _unordered(connection, table, table.position))
        ):
            message = f"{table.position.name!r} has no order: {reason}; name another column"
            yield config.problem(message, *at, "position")


def forbidden(connection: Connection[Any], table: Table) -> bool:
    """Whether this session's role may not read what the condition names."""
    try:
        _attempt(connection, _selected(table, ()), _SESSION)
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.Error:
        return False
    return False


def differing(
    connection: Connection[Any], config: Config, tables: Mapping[str, Table]
) -> Iterator[Problem]:
    """Each `where` that means one thing to the trigger and another in this session, because
    something on its search_path fits better: an operator of citext, say. Only for who may make
    temporary views; anybody else is told nothing."""
    for table in tables.values():
        if table.where and table.oid and _means_more(connection, table):
            message = (
                f"means something else where search_path is {_path(connection)} than for the"
                " trigger, which finds pg_catalog's alone; name what is meant with its schema:"
                " OPERATOR(public.=), public.f(…), 'x'::public.t"
            )
            yield config.problem(message, "tables", table.name, "where")


def _path(connection: Connection[Any]) -> str:
    ((path,),) = connection.execute("SHOW search_path").fetchall()
    return str(path)


def _means_more(connection: Connection[Any], table: Table) -> bool:
    try:
        ours = _meant(connection, table, _SESSION["search_path"])
        return ours != _meant(connection, table)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.ProgrammingError:
        return True  # it fits too much there, or nothing


def _meant(connection: Connection[Any], table: Table, path: str | None = None) -> str:
    """The condition as PostgreSQL understands it under a search_path, or the session's own."""
    view = _VIEW.format(sql.Identifier("pg_temp", "rowcast_trial"), table.rows())
    with connection.transaction(force_rollback=True):
        if path is not None:
            connection.execute(_PATH, (path,))
        connection.execute(view)
        # With nothing on the path, all that is not PostgreSQL's own is written with its schema.
        connection.execute(_PATH, ("",))
        ((definition,),) = connection.execute(_WRITTEN).fetchall()
        return str(definition)


def closed(connection: Connection[Any], table: Table, role: str) -> str | None:
    """What of the condition is closed to a role that has the row in hand: a schema, a function,
    another table. Only for who may act for the role, and read the table."""
    if table.where is None or not table.oid:
        return None
    trial = sql.Identifier("pg_temp", "rowcast_trial")
    rows = _TRIAL.format(trial=trial, table=table.identifier, role=sql.Identifier(role))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(rows)
            connection.execute("SELECT pg_catalog.set_config('role', %s, true)", (role,))
            _attempt(connection, _TRY.format(sql.SQL(""), table.rows(trial)), _SESSION)
    except psycopg.errors.InsufficientPrivilege as error:
        return error.diag.message_primary
    return None


def _refusal(
    connection: Connection[Any], table: Table, texts: tuple[sql.Composed, ...]
) -> str | None:
    """PostgreSQL's complaint; a missing right is not one, for it is another role's to write."""
    try:
        _attempt(connection, _selected(table, texts), _SESSION | _ALONE)
    except psycopg.errors.InsufficientPrivilege:
        return None
    except (psycopg.ProgrammingError, psycopg.DataError, *_ALSO) as error:
        return error.diag.message_primary or str(error)
    return None


def _unordered(connection: Connection[Any], table: Table, position: Column) -> str | None:
    statement = _ORDER.format(table.identifier, sql.Identifier("t", position.name))
    try:
        _attempt(connection, statement, _ALONE)
    except psycopg.errors.UndefinedFunction as error:
        return error.diag.message_primary
    except psycopg.errors.InsufficientPrivilege:
        return None
    return None


def _selected(table: Table, texts: tuple[sql.Composed, ...]) -> sql.Composed:
    return _TRY.format(sql.SQL(", ").join(texts), table.rows())


def _attempt(
    connection: Connection[Any], statement: sql.Composed, settings: Mapping[str, str]
) -> None:
    with connection.transaction(force_rollback=True):
        for name, value in settings.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        # Binary means the extended protocol, which takes one statement and no more.
        connection.execute(statement, binary=True)
