"""What the serving role needs, and nothing else: said as SQL, and looked for by `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from bridge import storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from bridge.tables import Name, Table


def read(table: Table, tables: Mapping[str, Table], *, states: bool = True) -> dict[Name, set[str]]:
    """The columns that serving reads, by relation: none of a table that only refreshes others.

    Without `states`, which another role reads, what is left is which rows lead to which.
    """
    served = states and table.served
    place = table.schema, table.relation
    fields = {column.name for column in table.key + table.routing}
    fields |= {table.position.name} if table.position else set()
    parent, led = table.parent, any(_leads_to(other, table) for other in tables.values())
    read: dict[Name, set[str]] = {place: fields} if served or led else {}
    if led and parent:
        read[place] |= {column.name for column in parent.columns}
    if served:
        keys = {column.name for column in table.key} if table.document else set()
        read.setdefault(table.document or place, set()).update(table.columns, keys)
    return read


def _leads_to(child: Table, table: Table) -> bool:
    return child.parent is not None and child.parent.table == table.name


def script(
    schema: str,
    tables: Mapping[str, Table],
    role: str,
    *,
    events: bool,
    context: Connection[Any],
    viewers: str | None = None,
    definer: str | None = None,
) -> str:
    """SQL for whoever makes the roles; to be run after the migration, and again after others.

    `viewers` is the role that states are read under, if that is another one; `definer` the one
    that what writes to the schema belongs to.
    """
    found = [*_grants(schema, tables, role, events, states=viewers is None)]
    if viewers is not None:
        found += _lent(schema, tables, role, viewers)
    lines = [statement.as_string(context) for statement in found]
    owner = sql.Identifier(context.info.user).as_string(context)
    running = sql.Identifier(definer or SUGGESTED).as_string(context)
    who = (_DEFINER if definer else _UNDEFINED).format(definer=running, owner=owner)
    return "\n".join([_OWNER, who, f"-- {role}: what serves.", *lines, ""])


_OWNER = """\
-- What migrates is a role that owns the tables and nothing more, no superuser. It needs CREATE
-- on the database once, for the schema."""
_DEFINER = """\
-- {definer}: what the functions that write to the schema run as, and whose that is which
-- they write to. It is and owns nothing else. `rowcast migrate`, once the role is there, gives
-- both to it.
-- CREATE ROLE {definer} NOLOGIN;
-- GRANT {definer} TO {owner};"""
_UNDEFINED = """\
-- Functions that write to the schema run as {owner}. They need nothing of what that may do beside
-- it: say `definer: {definer}` in the config, make the role, then run `rowcast migrate`.
-- CREATE ROLE {definer} NOLOGIN;
-- GRANT {definer} TO {owner};"""
SUGGESTED = "rowcast_definer"


_KEEPING = (
    sql.SQL("GRANT SELECT, INSERT, UPDATE, TRUNCATE ON ALL TABLES IN SCHEMA {0} TO {1};"),
    sql.SQL("GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {0} TO {1};"),
    sql.SQL("REVOKE INSERT, UPDATE, TRUNCATE ON {0}.alembic_version FROM {1};"),
)
_READ_ONLY = sql.SQL("REVOKE INSERT, UPDATE, TRUNCATE ON {0}.events, {0}.channels FROM {1};")


def _grants(
    schema: str, tables: Mapping[str, Table], role: str, events: bool, *, states: bool
) -> Iterator[sql.Composed]:
    to, own = sql.Identifier(role), sql.Identifier(schema)
    yield sql.SQL("-- CREATE ROLE {} LOGIN PASSWORD '…';").format(to)
    yield from _readable(tables, to, states=states)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(own, to)
    yield sql.SQL("GRANT SELECT, UPDATE ON {}.epoch TO {};").format(own, to)
    if events or any(table.durable or table.log for table in tables.values()):
        yield from (statement.format(own, to) for statement in _KEEPING)
    if events:
        yield _READ_ONLY.format(own, to)
    if any(table.audit for table in tables.values()):
        yield from _pruning(schema, own, to)


def _pruning(schema: str, own: sql.Identifier, to: sql.Identifier) -> Iterator[sql.Composed]:
    """To prune what was audited, and neither to read nor to write it."""
    slots = [storage.leaf(schema, "audit", n) for n in range(storage.SLOTS)]
    leaves = sql.SQL(", ").join(slots)
    yield sql.SQL("REVOKE ALL ON {0}.audit, {0}.audit_rest, {1} FROM {2};").format(own, leaves, to)
    yield sql.SQL("GRANT TRUNCATE ON {} TO {};").format(leaves, to)
    yield sql.SQL("GRANT SELECT, UPDATE ON {}.audit_about TO {};").format(own, to)
    yield sql.SQL("GRANT SELECT, UPDATE ON SEQUENCE {}.audit_slot TO {};").format(own, to)


def _lent(
    schema: str, tables: Mapping[str, Table], role: str, viewers: str
) -> Iterator[sql.Composed]:
    """What the role needs that policies apply to."""
    to, own = sql.Identifier(viewers), sql.Identifier(schema)
    yield sql.SQL("-- {}: whom states are read as.").format(to)
    yield from _readable({n: t for n, t in tables.items() if t.served}, to, states=True)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(own, to)
    yield sql.SQL("GRANT SELECT ON {}.epoch TO {};").format(own, to)
    yield sql.SQL("GRANT {} TO {};").format(to, sql.Identifier(role))


def _readable(
    tables: Mapping[str, Table], to: sql.Identifier, *, states: bool
) -> Iterator[sql.Composed]:
    """Columns of relations; all of one whose `where` may name any."""
    wanted: dict[tuple[str, str], set[str]] = {}
    whole = {(t.schema, t.relation) for t in tables.values() if states and t.where}
    for table in tables.values():
        for (schema, relation), columns in read(table, tables, states=states).items():
            assert schema is not None, "the catalog has told"
            wanted.setdefault((schema, relation), set()).update(columns)
    for schema in sorted({schema for schema, _ in wanted}):
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), to)
    for place, columns in sorted(wanted.items()):
        names = sql.SQL(", ").join(map(sql.Identifier, sorted(columns)))
        of = sql.SQL("") if place in whole else sql.SQL(" ({})").format(names)
        yield sql.SQL("GRANT SELECT{} ON {} TO {};").format(of, sql.Identifier(*place), to)
