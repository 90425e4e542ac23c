"""Whether the role that is to own what writes to the bridge's schema is there, may be given
that, and can do nothing else. Reads only; what it tries, it takes back.

What everybody may do, the role may do as well: PUBLIC's rights are not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from bridge import capture, catalog, conditions, inventory
from bridge.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from bridge.config import Config
    from bridge.errors import Problem
    from bridge.tables import Table

# Whoever migrates has to be a member: to give things away (SET, which PostgreSQL tells apart
# from 16 on), and to replace and drop them afterwards (USAGE, that is INHERIT).
_ROLE = """
WITH beyond AS (
    SELECT d.deptype, pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS what
    FROM pg_catalog.pg_shdepend AS d
    LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
    LEFT JOIN pg_catalog.pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
    LEFT JOIN pg_catalog.pg_namespace AS s
        ON s.oid = coalesce(c.relnamespace, p.pronamespace, t.typnamespace)
        OR d.deptype = 'a' AND d.classid = 'pg_namespace'::regclass AND s.oid = d.objid
    WHERE d.refclassid = 'pg_authid'::regclass
      AND d.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %(role)s)
      AND d.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database
                         WHERE datname = current_database()))
      AND NOT coalesce(s.nspname = ANY (%(schemas)s), false)
)
SELECT r.rolname = current_user OR pg_has_role(current_user, r.oid, %(set)s)
           AND pg_has_role(current_user, r.oid, 'USAGE'),
       pg_catalog.array_remove(ARRAY[
           CASE WHEN r.rolsuper THEN 'is a superuser' END,
           CASE WHEN r.rolcanlogin THEN 'can log in' END,
           CASE WHEN r.rolcreaterole THEN 'has CREATEROLE' END,
           CASE WHEN r.rolcreatedb THEN 'has CREATEDB' END,
           CASE WHEN r.rolreplication THEN 'has REPLICATION' END,
           CASE WHEN r.rolbypassrls THEN 'has BYPASSRLS' END], NULL)
       || ARRAY(SELECT 'is a member of ' || m.roleid::regrole::text
                FROM pg_catalog.pg_auth_members AS m WHERE m.member = r.oid ORDER BY 1)
       || ARRAY(SELECT 'owns ' || what FROM beyond WHERE deptype = 'o' ORDER BY 1),
       ARRAY(SELECT 'has rights on ' || what FROM beyond WHERE deptype = 'a' ORDER BY 1)
FROM pg_catalog.pg_roles AS r WHERE r.rolname = %(role)s
"""

_OWNERS = """
SELECT DISTINCT pg_catalog.pg_get_userbyid(p.proowner)::text
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS s ON s.oid = p.pronamespace
WHERE s.nspname = %s AND p.prosecdef ORDER BY 1
"""


def asked(connection: Connection[Any], config: Config) -> dict[str, Table]:
    """`catalog.asked`, and what only who migrates can try. Raises `CatalogError` also where a
    condition is understood in two ways, or the role is of no use."""
    tables = catalog.asked(connection, config)
    problems = list(conditions.differing(connection, config, tables))
    if config.definer is not None:
        problems += _problems(connection, config, config.definer, tables)
    if problems:
        raise CatalogError(problems)
    return tables


def _problems(
    connection: Connection[Any], config: Config, role: str, tables: Mapping[str, Table]
) -> Iterator[Problem]:
    if wrong := _refusal(connection, config, role):
        yield config.problem(wrong, "definer")
        return
    for table in filter(capture.keeps, tables.values()):
        if reason := conditions.closed(connection, table, role):
            message = f"{reason} as {role}, by whom it is asked; GRANT it that"
            yield config.problem(message, "tables", table.name, "where")


def remarks(connection: Connection[Any], config: Config) -> Iterator[str]:
    """What to say of whom functions run as, to whoever checks."""
    role = config.definer
    if role is None:
        yield from _undefined(connection, config)
        return
    found = _looked_up(connection, config, role)
    if found is None:
        yield f"there is no role {role}; {_made(role)}, then run `rowcast migrate`"
        return
    for power in (*found[1], *found[2]):
        yield f"{role} {power}, and needs nothing but what `rowcast migrate` gives to it"


def left(config: Config) -> str | None:
    """What to say of the role where everything else is removed."""
    role = config.definer
    return role and f"the role {role} stays; DROP ROLE it, if no other database needs it"


def _undefined(connection: Connection[Any], config: Config) -> Iterator[str]:
    for (owner,) in connection.execute(_OWNERS, (config.schema,)).fetchall():
        yield (
            f"functions that write to {config.schema} run as {owner}, who may do more than that;"
            " name a role of their own by `definer`: `rowcast migrate --roles` tells how"
        )


def _refusal(connection: Connection[Any], config: Config, role: str) -> str | None:
    found = _looked_up(connection, config, role)
    user = _quoted(connection.info.user)
    if found is None:
        return f"there is no role {role!r}; {_made(role)}; GRANT {_quoted(role)} TO {user}"
    lent, powers, _ = found
    if powers:
        return f"{role!r} {powers[0]}; name a role that is nothing and owns nothing"
    if not lent:
        return f"{user} cannot give anything to it; GRANT {_quoted(role)} TO {user}"
    return None


def _looked_up(
    connection: Connection[Any], config: Config, role: str
) -> tuple[bool, list[str], list[str]] | None:
    """Whether this session may act for it; what it is or owns besides; what it may do besides."""
    asked = {
        "role": role,
        "set": "SET" if connection.info.server_version >= 160000 else "MEMBER",
        "schemas": [*{config.schema, *inventory.schemas(connection)}],
    }
    return connection.execute(_ROLE, asked).fetchone()


def _made(role: str) -> str:
    return f"CREATE ROLE {_quoted(role)} NOLOGIN"


def _quoted(role: str) -> str:
    return sql.Identifier(role).as_string(None)
