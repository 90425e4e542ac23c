"""What the database has: its relations, and what a role may do with them. Reads only.

Names are compared exactly, never folded and never cut at 63 bytes. A connection is
used in whatever state it is; nothing is set on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import dict_row

from bridge import conditions, event_store, inventory, records
from bridge.errors import CatalogError
from bridge.resolve import resolve
from bridge.tables import Column, ForeignKey, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import LiteralString

    from psycopg import Connection

    from bridge.config import Config
    from bridge.tables import Name, Table

# to_regclass cuts a name at 63 bytes in silence, hence the comparison with relname. It
# also refuses schemas one may not use, which is why it serves the search path only.
_OIDS = """
SELECT (wanted.place - 1)::int, c.oid::int8
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted(schema, name, place)
JOIN pg_catalog.pg_class AS c ON c.relname = wanted.name AND c.relkind IN ('r','p','v','m','f')
JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE CASE WHEN wanted.schema IS NULL
      THEN c.oid = pg_catalog.to_regclass(pg_catalog.quote_ident(wanted.name))
      ELSE s.nspname = wanted.schema END
"""

_RELATIONS = """
SELECT c.oid::int8 AS oid, s.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner, c.relispartition AS is_partition,
       c.relrowsecurity AS row_security,
       EXISTS (
           WITH RECURSIVE below AS (
               SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = c.oid
               UNION
               SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
               JOIN below ON i.inhparent = below.inhrelid
           )
           SELECT FROM below JOIN pg_catalog.pg_class AS f ON f.oid = below.inhrelid
           WHERE f.relkind = 'f'
       ) AS foreign_children
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE c.oid = ANY(%s::oid[])
"""

# A type is named with its schema and without a length: `::varchar(3)` cuts a value and
# `::char` means one character, where pg_catalog.varchar and pg_catalog.bpchar keep it.
_COLUMNS = """
WITH RECURSIVE below AS (
    SELECT oid AS type, oid AS base, typbasetype AS next FROM pg_catalog.pg_type
    UNION ALL
    SELECT below.type, t.oid, t.typbasetype
    FROM below JOIN pg_catalog.pg_type AS t ON t.oid = below.next
)
SELECT a.attrelid::int8 AS oid, a.attname AS name,
       pg_catalog.format('%%I.%%I', ts.nspname, t.typname) AS type,
       b.typname AS base, bs.nspname = 'pg_catalog' AS builtin,
       a.attnotnull AS not_null, a.attgenerated = 'v' AS virtual
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace AS ts ON ts.oid = t.typnamespace
JOIN below ON below.type = t.oid AND below.next = 0
JOIN pg_catalog.pg_type AS b ON b.oid = below.base
JOIN pg_catalog.pg_namespace AS bs ON bs.oid = b.typnamespace
WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_UNIQUE = """
SELECT i.indrelid::int8 AS oid, i.indisprimary AS is_primary,
       pg_catalog.array_agg(a.attname::text ORDER BY k.place) AS columns
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
LEFT JOIN pg_catalog.pg_attribute AS a
     ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attnotnull
WHERE i.indrelid = ANY(%s::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, i.indisprimary
HAVING pg_catalog.bool_and(a.attname IS NOT NULL)
ORDER BY i.indisprimary DESC, i.indexrelid
"""

# Foreign keys of single partitions count for the partitioned table: they tell where a column
# leads, which does not depend on whether every partition has it enforced.
_FOREIGN_KEYS = """
SELECT oid::int8, target::int8, columns, target_columns, bool_or(direct) AS direct FROM (
    SELECT c.oid, f.conname, f.confrelid AS target,
       f.conrelid <> c.oid AND NOT (f.confupdtype IN ('a', 'r') AND f.confdeltype IN ('a', 'r'))
       AS direct,
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k(n, place)
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.n
             ORDER BY k.place) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k(n, place)
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = k.n
             ORDER BY k.place) AS target_columns
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL (SELECT c.oid UNION
                        SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) AS t) AS of(part)
    JOIN pg_catalog.pg_constraint AS f ON f.conrelid = of.part
    WHERE c.oid = ANY(%s::oid[]) AND f.contype = 'f' AND f.conparentid = 0
) AS found
GROUP BY oid, target, columns, target_columns
ORDER BY min(conname::text)
"""

_NAMES = """
SELECT s.nspname, c.relname, c.oid::int8, CASE WHEN c.relispartition OR EXISTS (
           SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass
           AND d.objid = c.oid AND d.deptype = 'e') THEN '' ELSE c.relkind::text END
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
      AND s.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY s.nspname, c.relname
"""

# A table that was never analysed has no estimate, and its pages tell little: they hold one
# row or two hundred.
_SIZES = """
SELECT c.oid::int8, s.nspname, c.relname,
       sum(CASE WHEN leaf.reltuples >= 0 THEN leaf.reltuples END)::int8 AS estimate,
       bool_or(leaf.reltuples < 0) AND has_table_privilege(c.oid, 'SELECT') AS countable
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)) AS of
JOIN pg_catalog.pg_class AS leaf ON leaf.oid = of.oid AND leaf.relkind <> 'p'
WHERE c.oid = ANY(%s::oid[])
GROUP BY c.oid, s.nspname, c.relname
"""

_COUNT = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS rows")

_FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       current_database()::text AS database, current_user::text AS role,
       pg_is_in_recovery() AS in_recovery,
       current_setting('server_encoding') AS encoding,
       current_setting('max_prepared_transactions')::int AS max_prepared_transactions,
       pg_notification_queue_usage() AS queue_usage
"""

_PRIVILEGES = """
SELECT c.oid::int8 AS oid, pg_has_role(c.relowner, 'USAGE') AS owns,
       has_table_privilege(c.oid, 'SELECT') AS reads,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.oid
             AND a.attnum > 0 AND has_column_privilege(c.oid, a.attnum, 'SELECT')) AS columns,
       has_schema_privilege(c.relnamespace, 'USAGE') AS enters,
       row_security_active(c.oid) AS filtered
FROM pg_class AS c WHERE c.oid = ANY(%s::oid[])
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """The server and the session. `version_number` is like 150018, `queue_usage` 0 to 1."""

    version: str
    version_number: int
    database: str
    role: str
    in_recovery: bool
    encoding: str
    max_prepared_transactions: int
    queue_usage: float


@dataclass(frozen=True, slots=True)
class Privileges:
    """What the session's role may do with a relation; `columns` are those it may read.

    `filtered`: row security applies to this role, so it serves what its policies show.
    """

    oid: int
    owns: bool
    reads: bool
    columns: tuple[str, ...]
    enters: bool
    filtered: bool


def read(connection: Connection[Any], names: Iterable[Name]) -> dict[Name, Relation | None]:
    """Each name → its relation, or None where there is none of that name."""
    wanted = list(dict.fromkeys(names))
    schemas, relations = [schema for schema, _ in wanted], [name for _, name in wanted]
    found = dict(connection.execute(_OIDS, (schemas, relations)).fetchall())
    known = _relations(connection, list(found.values()))
    return {name: known.get(found.get(place, 0)) for place, name in enumerate(wanted)}


def relations(connection: Connection[Any], kinds: str = "rp") -> tuple[Relation, ...]:
    """Every relation of these kinds by schema and name; no partitions, nothing of extensions."""
    found = connection.execute(_NAMES).fetchall()
    oids = [oid for _, _, oid, kind in found if kind and kind in kinds]
    known = _relations(connection, oids)
    return tuple(known[oid] for oid in oids)


def sizes(connection: Connection[Any], oids: Iterable[int], most: int = 100_000) -> dict[int, int]:
    """About how many rows each relation has, partitions included.

    Where statistics are missing they are counted, up to `most`.
    """
    found = {}
    for oid, schema, name, estimate, countable in connection.execute(_SIZES, (list(oids),)):
        found[oid] = estimate or 0
        if countable:
            count = _COUNT.format(sql.Identifier(schema, name), most)
            ((counted,),) = connection.execute(count).fetchall()
            found[oid] = max(found[oid], counted)
    return found


def resolved(connection: Connection[Any], config: Config) -> dict[str, Table]:
    """The config's tables as this database has them, to be served. Raises `CatalogError`.

    Under `exclude` a column that came after the last migration is not among them.
    """
    tables = asked(connection, config)
    functions = inventory.installed(connection, config.schema).functions
    comments = {function.name: function.comment for function in functions}
    return records.frozen(tables, comments, config.schema)


def asked(connection: Connection[Any], config: Config) -> dict[str, Table]:
    """The same as a migration would leave them. Raises `CatalogError`."""
    entries = config.tables.values()
    documents = [entry.document for entry in entries if entry.document]
    wanted = [*(entry.table for entry in entries), *documents]
    found = event_store.promised(config, read(connection, wanted))
    names = [(schema, name) for schema, name, _, _ in connection.execute(_NAMES).fetchall()]
    tables = resolve(config, found, names)
    if problems := list(conditions.problems(connection, config, tables)):
        raise CatalogError(problems)
    return tables


def facts(connection: Connection[Any]) -> Facts:
    """What matters of the server before it is asked for anything."""
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(_FACTS).fetchall()
    return Facts(**row)


def privileges(connection: Connection[Any], oids: Iterable[int]) -> dict[int, Privileges]:
    """What the session's role may do with each of these relations."""
    rows = _rows(connection, _PRIVILEGES, list(oids))
    return {row["oid"]: Privileges(**row | {"columns": tuple(row["columns"])}) for row in rows}


def _rows(connection: Connection[Any], query: LiteralString, oids: Sequence[int]) -> list[Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, (list(oids),)).fetchall()


def _relations(connection: Connection[Any], oids: Sequence[int]) -> dict[int, Relation]:
    columns = _grouped(_rows(connection, _COLUMNS, oids))
    unique = _grouped(_rows(connection, _UNIQUE, oids))
    references = _grouped(_rows(connection, _FOREIGN_KEYS, oids))
    return {
        row["oid"]: Relation(
            **row,
            columns=tuple(Column(**column) for column in columns.get(row["oid"], ())),
            foreign_keys=tuple(_reference(key) for key in references.get(row["oid"], ())),
            **_keys(unique.get(row["oid"], ())),
        )
        for row in _rows(connection, _RELATIONS, oids)
    }


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """By `oid`, which is taken out of each row."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row.pop("oid"), []).append(row)
    return groups


def _keys(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    unique = [(tuple(row["columns"]), row["is_primary"]) for row in rows]
    primary = next((columns for columns, is_primary in unique if is_primary), None)
    return {"primary_key": primary, "unique": tuple(columns for columns, _ in unique)}


def _reference(key: dict[str, Any]) -> ForeignKey:
    columns, target_columns = tuple(key["columns"]), tuple(key["target_columns"])
    return ForeignKey(columns, key["target"], target_columns, key["direct"])
