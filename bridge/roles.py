"""What the serving role needs, and nothing else: said as SQL, and looked for by `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg.abc import AdaptContext

    from bridge.tables import Name, Table


def read(table: Table, tables: Mapping[str, Table]) -> dict[Name, set[str]]:
    """The columns that serving reads, by relation: none of a table that only refreshes others."""
    place = table.schema, table.relation
    fields = {column.name for column in table.key + table.routing}
    parent, led = table.parent, any(_leads_to(other, table) for other in tables.values())
    read: dict[Name, set[str]] = {place: fields} if table.served or led else {}
    if led and parent:
        read[place] |= {column.name for column in parent.columns}
    if table.served:
        keys = {column.name for column in table.key} if table.document else set()
        read.setdefault(table.document or place, set()).update(table.columns, keys)
    return read


def _leads_to(child: Table, table: Table) -> bool:
    return child.parent is not None and child.parent.table == table.name


def script(
    schema: str, tables: Mapping[str, Table], role: str, *, events: bool, context: AdaptContext
) -> str:
    """SQL for whoever makes the roles; to be run after the migration, and again after others."""
    lines = [statement.as_string(context) for statement in _grants(schema, tables, role, events)]
    return "\n".join([_OWNER, f"-- {role}: what serves.", *lines, ""])


_OWNER = """\
-- What migrates is a role that owns the tables and nothing more, no superuser: where functions
-- of the bridge write to its own schema, they run as that role. It needs CREATE on the database
-- once, for the schema."""


_KEEPING = (
    sql.SQL("GRANT SELECT, INSERT, UPDATE, TRUNCATE ON ALL TABLES IN SCHEMA {0} TO {1};"),
    sql.SQL("GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {0} TO {1};"),
    sql.SQL("REVOKE INSERT, UPDATE, TRUNCATE ON {0}.alembic_version FROM {1};"),
)
_READ_ONLY = sql.SQL("REVOKE INSERT, UPDATE, TRUNCATE ON {0}.events, {0}.channels FROM {1};")


def _grants(
    schema: str, tables: Mapping[str, Table], role: str, events: bool
) -> Iterator[sql.Composed]:
    to, own = sql.Identifier(role), sql.Identifier(schema)
    yield sql.SQL("-- CREATE ROLE {} LOGIN PASSWORD '…';").format(to)
    yield from _readable(tables, to)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(own, to)
    yield sql.SQL("GRANT SELECT, UPDATE ON {}.epoch TO {};").format(own, to)
    if events or any(table.durable or table.log for table in tables.values()):
        yield from (statement.format(own, to) for statement in _KEEPING)
    if events:
        yield _READ_ONLY.format(own, to)


def _readable(tables: Mapping[str, Table], to: sql.Identifier) -> Iterator[sql.Composed]:
    """Columns of relations; all of one whose `where` may name any."""
    wanted: dict[tuple[str, str], set[str]] = {}
    whole = {(table.schema, table.relation) for table in tables.values() if table.where}
    for table in tables.values():
        for (schema, relation), columns in read(table, tables).items():
            assert schema is not None, "the catalog has told"
            wanted.setdefault((schema, relation), set()).update(columns)
    for schema in sorted({schema for schema, _ in wanted}):
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), to)
    for place, columns in sorted(wanted.items()):
        names = sql.SQL(", ").join(map(sql.Identifier, sorted(columns)))
        of = sql.SQL("") if place in whole else sql.SQL(" ({})").format(names)
        yield sql.SQL("GRANT SELECT{} ON {} TO {};").format(of, sql.Identifier(*place), to)
