"""What the rows that are sent look like: the types of their columns, from the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import BridgeError
from bridge.typescript import Field, Shape, Type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import Connection

    from bridge.tables import Table

_TYPES = """
WITH RECURSIVE found(oid) AS (
    SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT CASE WHEN t.typbasetype <> 0 THEN t.typbasetype ELSE t.typelem END
    FROM found JOIN pg_catalog.pg_type AS t USING (oid)
    WHERE t.typbasetype <> 0 OR t.typcategory = 'A'
)
SELECT t.oid::int8, t.typname::text, s.nspname = 'pg_catalog', t.typtype::text,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum AS e
             WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
       CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END::int8,
       EXISTS (SELECT FROM pg_catalog.pg_cast AS c WHERE c.castsource = t.oid
               AND c.casttarget IN ('json'::regtype, 'jsonb'::regtype) AND c.castfunc <> 0),
       t.typbasetype::int8
FROM found JOIN pg_catalog.pg_type AS t USING (oid)
JOIN pg_catalog.pg_namespace AS s ON s.oid = t.typnamespace
"""

_COLUMNS = """
SELECT a.attname::text, a.atttypid::int8, a.attnotnull, a.attndims::int
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_RELATION = """
SELECT c.oid::int8 FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE s.nspname = %s AND c.relname = %s
"""


class _Row(NamedTuple):
    """A row of `_TYPES`; `element` and `base` are oids, or 0."""

    oid: int
    name: str
    builtin: bool
    kind: str
    labels: list[str]
    element: int
    castable: bool
    base: int


def read(connection: Connection[Any], tables: Iterable[Table]) -> list[Shape]:
    """The shape of every table that has topics.

    Raises BridgeError where `rowcast migrate` has yet to make the table.
    """
    return [_shape(connection, table) for table in tables if table.served]


def _shape(connection: Connection[Any], table: Table) -> Shape:
    about = {"relation": _relation(connection, table)}
    rows = [_Row(*row) for row in connection.execute(_TYPES, about)]
    types = {row.oid: row for row in rows}
    # A row is found by its key, also in a view, whose columns may all be NULL for the catalog.
    keys = {column.name for column in table.key}
    fields = tuple(
        Field(name, _type(types, oid), not not_null and name not in keys, dimensions)
        for name, oid, not_null, dimensions in connection.execute(_COLUMNS, about)
        if name in table.columns
    )
    if not fields:
        raise BridgeError(
            f"{table.schema}.{table.relation} is not there yet; run `rowcast migrate`"
        )
    templates = tuple(template.text for template in table.templates)
    return Shape(table.name, templates, fields, table.log)


def _relation(connection: Connection[Any], table: Table) -> int:
    if table.document is None:
        return table.oid
    ((oid,),) = connection.execute(_RELATION, table.document).fetchall()
    return int(oid)


def _type(types: Mapping[int, _Row], oid: int) -> Type:
    row = types[oid]
    if row.base:
        return _type(types, row.base)
    element = _type(types, row.element) if row.element else None
    return Type(row.name, row.builtin, row.kind, tuple(row.labels), element, row.castable)
