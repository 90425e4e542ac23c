"""What would keep PostgreSQL's policies from deciding, where the config leaves it to them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from bridge.config.auth import RlsConfig
    from bridge.tables import Name, Table

_ROLE = "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = %s"

_RELATION = """
SELECT c.relkind IN ('r', 'p') AS stored, c.relrowsecurity AS secured,
       pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity AS owned,
       EXISTS (SELECT FROM pg_catalog.pg_policy p, unnest(p.polroles) AS whose
               WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r')
                 AND (whose = 0 OR pg_has_role(r.oid, whose, 'USAGE'))) AS met,
       EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
               WHERE option_name = 'security_invoker' AND option_value::bool) AS invoker
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_roles r
WHERE n.nspname = %s AND c.relname = %s AND r.rolname = %s
"""


class Remark(NamedTuple):
    """`about` names the thing; a `grave` one lets policies be passed by, or nothing be read."""

    about: str
    message: str
    grave: bool


class _Relation(NamedTuple):
    stored: bool
    secured: bool
    owned: bool
    met: bool
    invoker: bool


@contextmanager
def acting(connection: Connection[Any], rls: RlsConfig) -> Iterator[None]:
    """Be the role that rows are read under. Raises `psycopg.Error` where that cannot be."""
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT pg_catalog.set_config('role', %s, true)", (rls.role,))
        yield


def refusal(connection: Connection[Any], rls: RlsConfig) -> Remark | None:
    """Why the role cannot be taken on, or is of no use."""
    found = connection.execute(_ROLE, (rls.role,)).fetchone()
    if found is None:
        return Remark("auth.rls", f"there is no role {rls.role}; CREATE ROLE it", grave=True)
    if found[0]:
        message = f"no policy applies to {rls.role}, which is a superuser or has BYPASSRLS"
        return Remark("auth.rls", f"{message}; name another role", grave=True)
    try:
        with acting(connection, rls):
            return None
    except psycopg.errors.InsufficientPrivilege:
        user = connection.info.user
        message = f"{user} may not SET ROLE {rls.role}; GRANT {rls.role} TO {user}"
        return Remark("auth.rls", message, grave=True)


def remarks(connection: Connection[Any], rls: RlsConfig, table: Table) -> Iterator[Remark]:
    """What is to be said of a table, and of the document that is sent in its place."""
    yield from _remarks(connection, rls, table, (table.schema, table.relation))
    if table.document is not None:
        yield from _remarks(connection, rls, table, table.document)


def _remarks(
    connection: Connection[Any], rls: RlsConfig, table: Table, place: Name
) -> Iterator[Remark]:
    with connection.cursor(row_factory=class_row(_Relation)) as cursor:
        found = cursor.execute(_RELATION, (*place, rls.role)).fetchone()
    if found is not None and (said := _said(found, rls, ".".join(filter(None, place)))):
        yield Remark(table.name, *said)


def _said(relation: _Relation, rls: RlsConfig, shown: str) -> tuple[str, bool] | None:
    if not relation.stored:
        if relation.invoker:
            return None
        return (
            f"{shown} is read with its owner's rights, so policies of the tables in it do not"
            " apply; ALTER VIEW … SET (security_invoker), from PostgreSQL 15 on",
            False,
        )
    if not relation.secured:
        return (
            f"{shown} has no row-level security, so everybody sees every row of a topic;"
            f" ALTER TABLE {shown} ENABLE ROW LEVEL SECURITY if that is not meant",
            False,
        )
    if relation.owned:
        return (
            f"{rls.role} owns {shown}, and policies do not apply to owners;"
            " name another role, or FORCE ROW LEVEL SECURITY",
            True,
        )
    if not relation.met:
        return f"no policy shows {rls.role} any row of {shown}; CREATE POLICY one", False
    return None
