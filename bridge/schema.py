"""The SQL that makes and drops the schema the bridge's own objects live in.

A schema that somebody made for a role which may not create one is as good as our own.
What we made bears our comment, and only that is dropped in the end: never with CASCADE.
"""

from __future__ import annotations

from psycopg import sql

_OURS = "Rowcast: what the bridge keeps for itself"

# CREATE SCHEMA IF NOT EXISTS would ask for the right to create one all the same.
_CREATE = sql.SQL(
    """DO $rowcast$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {name}) THEN
        CREATE SCHEMA {schema};
        COMMENT ON SCHEMA {schema} IS {comment};
    END IF;
END $rowcast$"""
)

_DROP = sql.SQL(
    """DROP TABLE IF EXISTS {version};
DO $rowcast$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {name}
               AND pg_catalog.obj_description(oid, 'pg_namespace') = {comment}) THEN
        DROP SCHEMA {schema};
    END IF;
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'schema % stays: it holds objects that are not the bridge''s', {name};
END $rowcast$"""
)

_CLOSE = sql.SQL(
    """DO $rowcast$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {name})
        AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_name})
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc
                        WHERE pg_catalog.pg_get_userbyid(proowner) = {role_name})
    THEN
        REVOKE ALL ON SCHEMA {schema} FROM {role};
    END IF;
END $rowcast$"""
)


def create(schema: str) -> str:
    """Makes the schema unless it exists."""
    return _CREATE.format(**_parts(schema)).as_string(None)


def drop(schema: str, definer: str | None = None) -> str:
    """Drops Alembic's table, and the schema if it is ours and holds nothing else; what stays is
    closed to `definer`, where nothing is left that runs as that role."""
    drop = _DROP.format(**_parts(schema)).as_string(None)
    if definer is None:
        return drop
    role = {"role": sql.Identifier(definer), "role_name": sql.Literal(definer)}
    return f"{drop};\n{_CLOSE.format(**_parts(schema), **role).as_string(None)}"


def version_table(schema: str) -> sql.Identifier:
    """Where Alembic notes which revision has run."""
    return sql.Identifier(schema, "alembic_version")


def _parts(schema: str) -> dict[str, sql.Composable]:
    return {
        "name": sql.Literal(schema),
        "schema": sql.Identifier(schema),
        "version": version_table(schema),
        "comment": sql.Literal(_OURS),
    }
