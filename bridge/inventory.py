"""What of the bridge is in the database: its schema, stores, triggers and functions. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from bridge import event_store, versions
from bridge.errors import DatabaseError
from bridge.installed import Installed, InstalledEvents, InstalledFunction, InstalledTrigger
from bridge.storage import STORES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import Connection

_OBJECTS = """
SELECT pg_catalog.count(*) > 0,
       coalesce(pg_catalog.array_agg(c.relname::text) FILTER (WHERE c.oid IS NOT NULL), '{}'),
       coalesce(pg_catalog.max(pg_catalog.obj_description(c.oid, 'pg_class'))
                FILTER (WHERE c.relname = 'epoch'), ''),
       coalesce(pg_catalog.array_agg(pg_catalog.pg_get_userbyid(c.relowner)::text)
                FILTER (WHERE c.oid IS NOT NULL), '{}')
FROM pg_catalog.pg_namespace AS s
LEFT JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = s.oid
       AND c.relname IN ('epoch', 'changes', 'log', 'audit', 'events', 'channels')
WHERE s.nspname = %s
"""

_SCHEMAS = """
SELECT s.nspname, coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE c.relname = 'epoch' AND c.relkind = 'r'
"""

# A trigger for each row is copied to every partition; the copies follow their original,
# unless somebody disables one.
_TRIGGERS = """
WITH RECURSIVE copies AS (
    SELECT oid AS original, oid, tgenabled FROM pg_catalog.pg_trigger WHERE tgparentid = 0
    UNION ALL
    SELECT copies.original, t.oid, t.tgenabled
    FROM copies JOIN pg_catalog.pg_trigger AS t ON t.tgparentid = copies.oid
)
SELECT t.tgrelid::int8, cs.nspname, c.relname, t.tgname, p.proname,
       CASE WHEN t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgattr::text = ''
            THEN ARRAY[t.tgtype::text, t.tgoldtable, t.tgnewtable] END,
       coalesce((SELECT min(k.tgenabled::text) FROM copies AS k
                 WHERE k.original = t.oid AND k.tgenabled <> t.tgenabled), t.tgenabled::text),
       pg_catalog.array_remove(ARRAY[pg_catalog.pg_get_triggerdef(t.oid),
           CASE WHEN t.tgenabled <> 'O' THEN
               pg_catalog.format('ALTER TABLE %%I.%%I %%s TRIGGER %%I', cs.nspname, c.relname,
                   CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                                    ELSE 'ENABLE ALWAYS' END, t.tgname) END], NULL)
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace AS s ON s.oid = p.pronamespace
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS cs ON cs.oid = c.relnamespace
WHERE s.nspname = %s AND t.tgname LIKE 'rowcast\\_%%' AND NOT t.tgisinternal
      AND t.tgparentid = 0
ORDER BY cs.nspname, c.relname, t.tgname
"""

_FUNCTIONS = """
SELECT p.proname, coalesce(pg_catalog.obj_description(p.oid, 'pg_proc'), ''), p.prosrc,
       coalesce(p.proconfig, '{}'), p.prosecdef, pg_catalog.pg_get_userbyid(p.proowner),
       pg_catalog.pg_get_function_identity_arguments(p.oid), NOT p.prosecdef OR (
           pg_catalog.has_schema_privilege(p.proowner, s.oid, 'USAGE') AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_class AS c
               WHERE c.relnamespace = s.oid AND c.relkind IN ('r', 'p')
                 AND pg_catalog.strpos(p.prosrc, pg_catalog.format(
                     'INSERT INTO "%%s"."%%s" ', s.nspname, c.relname)) > 0
                 AND NOT pg_catalog.has_table_privilege(p.proowner, c.oid, 'INSERT'))),
       pg_catalog.pg_get_functiondef(p.oid),
       pg_catalog.format('COMMENT ON FUNCTION %%I.%%I(%%s) IS %%L', s.nspname, p.proname,
           pg_catalog.pg_get_function_identity_arguments(p.oid),
           pg_catalog.obj_description(p.oid, 'pg_proc'))
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS s ON s.oid = p.pronamespace
WHERE s.nspname = %s AND (p.proname ~ '^(capture|audit)_' AND p.pronargs = 0
                          OR (p.proname, pg_catalog.oidvectortypes(p.proargtypes)) IN (
                              ('append', 'text, jsonb, bigint'),
                              ('publish', 'text, jsonb, jsonb, text, bigint')))
ORDER BY p.proname
"""


_READABLE = """
SELECT pg_catalog.bool_and(pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
                           AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE s.nspname = %s AND c.relname = %s
"""


def installed(connection: Connection[Any], schema: str) -> Installed:
    """What is installed by a bridge whose own schema is `schema`."""
    row = connection.execute(_OBJECTS, (schema,)).fetchone()
    own, found, mark, owners = row or (False, (), "", ())
    with connection.transaction(force_rollback=True):
        # Definitions name everything in full where nothing is on the search path.
        connection.execute("SET LOCAL search_path = ''")
        triggers = connection.execute(_TRIGGERS, (schema,)).fetchall()
        rows = connection.execute(_FUNCTIONS, (schema,)).fetchall()
    functions = tuple(_function(*row) for row in rows)
    return Installed(
        own,
        "epoch" in found and _filled(connection, schema, "epoch"),
        mark,
        frozenset(STORES) & frozenset(found),
        _events(connection, schema, frozenset(found), functions),
        triggers=tuple(_trigger(*row) for row in triggers),
        functions=tuple(one for one in functions if one.name not in event_store.FUNCTIONS),
        audited="audit" in found and _filled(connection, schema, "audit"),
        owners=dict(zip(found, owners, strict=True)),
    )


def mark(connection: Connection[Any], schema: str) -> str:
    """What the database says of the version of all of it; empty where it says nothing."""
    row = connection.execute(_OBJECTS, (schema,)).fetchone()
    return str(row[2]) if row else ""


def schemas(connection: Connection[Any]) -> frozenset[str]:
    """The schemas that are a bridge's own."""
    rows = connection.execute(_SCHEMAS).fetchall()
    return frozenset(name for name, written in rows if versions.read(written) is not None)


def _events(
    connection: Connection[Any],
    schema: str,
    found: frozenset[str],
    functions: Iterable[InstalledFunction],
) -> InstalledEvents:
    return InstalledEvents(
        event_store.TABLES & found,
        tuple(one for one in functions if one.name in event_store.FUNCTIONS),
        "events" in found and _filled(connection, schema, "events"),
    )


def whole(connection: Connection[Any], schema: str) -> None:
    """Raises `DatabaseError` where only the definitions of our tables were restored."""
    _, found, *_ = connection.execute(_OBJECTS, (schema,)).fetchone() or (False, ())
    if "epoch" in found and not _filled(connection, schema, "epoch"):
        raise DatabaseError(
            f"the schema {schema} has its tables without their rows, as from a dump of the"
            f" definitions alone; DROP SCHEMA {schema} CASCADE, then run `rowcast migrate` again"
        )


def _filled(connection: Connection[Any], schema: str, table: str) -> bool:
    """Whether it has a row; who may not look has to take it that it has one."""
    if connection.execute(_READABLE, (schema, table)).fetchone() != (True,):
        return True
    held = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table))
    return connection.execute(held).fetchone() == (True,)


def _trigger(*row: Any) -> InstalledTrigger:
    table, schema, relation, name, function, shape, enabled, definition = row
    known = shape and (int(shape[0]), shape[1], shape[2])
    return InstalledTrigger(
        table, schema, relation, name, function, known, enabled, tuple(definition)
    )


def _function(
    name: str,
    comment: str,
    body: str,
    settings: list[str],
    definer: bool,
    owner: str,
    arguments: str,
    able: bool,
    *definition: str,
) -> InstalledFunction:
    pairs = (setting.partition("=") for setting in settings)
    known = frozenset((setting, value) for setting, _, value in pairs)
    return InstalledFunction(
        name, comment, body, known, definer, owner, arguments, able, definition
    )
