"""Random transactions on tables that nobody described: what they look like is in the catalog.

Seeded, but rows are picked in the order the heap has them, so a seed is a history only on
the same data. Whatever a constraint refuses is undone alone, and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.support.plausible import Field

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from psycopg import Connection

    Values: TypeAlias = dict[str, sql.Composable]

WITHIN = 2000
"""Rows are picked among the first so many of a table, however large it is."""

_TABLES = """
SELECT c.oid::int8, n.nspname, c.relname,
       (SELECT array_agg(a.attname::text) FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisunique),
       (SELECT array_agg(a.attname::text) FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'rowcast')
ORDER BY 2, 3
"""

_FIELDS = """
WITH RECURSIVE below AS (
    SELECT oid AS type, oid AS base, typbasetype AS next, typtypmod AS mod FROM pg_type
    UNION ALL
    SELECT below.type, t.oid, t.typbasetype, greatest(below.mod, t.typtypmod)
    FROM below JOIN pg_type t ON t.oid = below.next
)
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, b.typname AS base,
       (SELECT i.typname FROM pg_type i WHERE i.oid = b.typelem AND b.typcategory = 'A') AS item,
       ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = b.oid
             ORDER BY enumsortorder) AS labels,
       nullif(greatest(a.atttypmod, below.mod), -1) AS limit, a.attnotnull AS not_null,
       a.attgenerated = '' AND a.attidentity <> 'a' AS writable
FROM pg_attribute a JOIN below ON below.type = a.atttypid AND below.next = 0
JOIN pg_type b ON b.oid = below.base
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

# A partitioned table may have no foreign keys where each of its partitions has the same.
_REFERENCES = """
SELECT DISTINCT f.confrelid::regclass::text,
       ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k(n, place)
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.n ORDER BY place),
       ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k(n, place)
             JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.n ORDER BY place)
FROM pg_constraint f
JOIN (SELECT %s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%s::oid)) t
     ON t.oid = f.conrelid
WHERE f.contype = 'f' AND NOT EXISTS (SELECT FROM pg_class c
      WHERE c.oid = f.confrelid AND c.relispartition)
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """`columns` refer to `target_columns` of `target`, which is quoted as SQL needs it."""

    target: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A table to write to; `unique` are the columns of all its unique indexes, `key` included."""

    schema: str
    name: str
    fields: tuple[Field, ...]
    unique: frozenset[str]
    key: tuple[str, ...]
    references: tuple[Reference, ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    @property
    def writable(self) -> list[Field]:
        return [field for field in self.fields if field.writable]


def targets(connection: Connection[Any]) -> list[Target]:
    """Every table of the database that holds rows of its own."""
    return [
        Target(
            schema,
            name,
            _fields(connection, oid),
            frozenset(unique or ()),
            tuple(key or ()),
            _references(connection, oid),
        )
        for oid, schema, name, unique, key in connection.execute(_TABLES).fetchall()
    ]


def _fields(connection: Connection[Any], oid: int) -> tuple[Field, ...]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(_field(row) for row in cursor.execute(_FIELDS, (oid,)).fetchall())


def _field(row: dict[str, Any]) -> Field:
    limited = row["limit"] and row["base"] in ("varchar", "bpchar")
    limit = row["limit"] - 4 if limited else None  # 4: the header of a string
    return Field(**row | {"labels": tuple(row["labels"]), "limit": limit})


def _references(connection: Connection[Any], oid: int) -> tuple[Reference, ...]:
    rows = connection.execute(_REFERENCES, (oid, oid)).fetchall()
    return tuple(Reference(target, tuple(own), tuple(its)) for target, own, its in rows)


class Rollback(Exception):  # noqa: N818
    """Ends a transaction that shall not have happened."""


class Anything:
    """Writes to all tables of a database alike; `done` and `refused` count by table and kind."""

    def __init__(self, connection: Connection[Any], random: Random) -> None:
        self.connection = connection
        self.random = random
        self.targets = targets(connection)
        self.done: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self._turn = 0

    def transaction(self) -> None:
        """One to four statements, tables in turn; one transaction in six is rolled back."""
        done: Counter[tuple[str, str]] = Counter()
        try:
            with self.connection.transaction():
                for _ in range(self.random.randint(1, 4)):
                    done += self._statement()
                if self.random.random() < 0.17:
                    raise Rollback
        except (Rollback, psycopg.errors.IntegrityError):  # a deferred constraint
            return
        self.done += done

    def _statement(self) -> Counter[tuple[str, str]]:
        target = self.targets[self._turn % len(self.targets)]
        self._turn += 1
        kinds = {self._update: 40, self._insert: 25, self._delete: 15, self._move: 12}
        kinds |= {self._rekey: 8, self._upsert: 5, self._many: 5}
        (make,) = self.random.choices(list(kinds), list(kinds.values()))
        name = f"{target.schema}.{target.name}", make.__name__.removeprefix("_")
        statement = make(target)
        if statement is None:
            return Counter()
        rows = self._run(statement, name)
        return Counter({name: 1}) if rows else Counter()

    def _run(self, statement: sql.Composable, name: tuple[str, str]) -> int:
        """Rows written; none where the database refused."""
        try:
            with self.connection.transaction():
                return self.connection.execute(statement.as_bytes(self.connection)).rowcount
        except (
            psycopg.errors.IntegrityError,
            psycopg.errors.DataError,
            psycopg.errors.ProgrammingError,
            psycopg.errors.NotSupportedError,
            psycopg.errors.RaiseException,
        ) as error:
            if "rowcast" in (error.diag.context or ""):  # capture may fail no write
                raise
            self.refused[name] += 1
            self.reasons[f"{name[0]} {name[1]}: {error.diag.message_primary}"] += 1
            return 0

    # Values

    def _row(self, relation: sql.Composable, what: sql.Composable) -> sql.Composable:
        """A subselect of one row."""
        offset = sql.Literal(self.random.randrange(WITHIN))
        return sql.SQL(
            "(SELECT {what} FROM {of} OFFSET {n} % greatest("
            "(SELECT count(*) FROM (SELECT FROM {of} LIMIT {most}) c), 1) LIMIT 1)"
        ).format(what=what, of=relation, n=offset, most=WITHIN)

    def _picked(self, target: Target) -> sql.Composable:
        return self._row(target.identifier, sql.SQL("ctid"))

    def _new_one(self, target: Target) -> sql.Composable:
        """A row that most probably came late, so that no other refers to it yet."""
        if self.random.random() < 0.3:
            return self._picked(target)
        statement = "(SELECT ctid FROM {} ORDER BY ctid DESC OFFSET {} LIMIT 1)"
        offset = sql.Literal(self.random.randrange(8))
        return sql.SQL(statement).format(target.identifier, offset)

    def _borrowed(self, target: Target, field: Field) -> sql.Composable:
        return self._row(target.identifier, sql.Identifier(field.name))

    def _value(self, target: Target, field: Field) -> sql.Composable:
        roll = self.random.random()
        if roll < 0.08 and not field.not_null:
            return sql.SQL("NULL")
        made = field.made(self.random)
        if made is None or roll >= 0.6:
            return _either(self._borrowed(target, field), made)
        return made

    def _fresh(self, target: Target, field: Field) -> sql.Composable:
        """A value that no row has, for a unique column."""
        made = field.made(self.random)
        new = field.after(_either(self._borrowed(target, field), made), self.random)
        column = sql.Identifier(field.name)
        return new or sql.SQL("(SELECT coalesce(max({}), 0) + 1 FROM {})").format(
            column, target.identifier
        )

    def _led(self, reference: Reference) -> Values:
        """Values of one foreign key: some row of its target."""
        if len(reference.columns) == 1:
            row = self._row(sql.SQL(reference.target), sql.Identifier(reference.target_columns[0]))
            return {reference.columns[0]: row}
        texts = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(name)) for name in reference.target_columns
        )
        row = self._row(sql.SQL(reference.target), sql.SQL("ARRAY[{}]").format(texts))
        query = sql.SQL("SELECT {}").format(row).as_bytes(self.connection)
        ((values,),) = self.connection.execute(query).fetchall()
        return dict(zip(reference.columns, map(sql.Literal, values or ()), strict=False))

    def _new(self, target: Target) -> Values:
        """A whole row: led where a foreign key leads, fresh where it must be unique."""
        values: Values = {}
        for field in target.writable:
            fresh = field.name in target.unique and self.random.random() < 0.9
            made = self._fresh(target, field) if fresh else self._value(target, field)
            values[field.name] = made
        for reference in target.references:
            values |= {n: v for n, v in self._led(reference).items() if target.field(n).writable}
        return values

    # Statements

    def _update(self, target: Target) -> sql.Composable | None:
        fields = [field for field in target.writable if not self._leads(target, field)]
        return self._set(target, {f.name: self._value(target, f) for f in self._some(fields)})

    def _some(self, fields: list[Field]) -> list[Field]:
        return self.random.sample(fields, min(len(fields), self.random.randint(1, 3)))

    def _leads(self, target: Target, field: Field) -> bool:
        led = {name for reference in target.references for name in reference.columns}
        return field.name in led or field.name in target.unique

    def _move(self, target: Target) -> sql.Composable | None:
        if not target.references:
            return None
        return self._set(target, self._led(self.random.choice(target.references)))

    def _rekey(self, target: Target) -> sql.Composable | None:
        fields = [field for field in target.writable if field.name in target.unique]
        if not fields:
            return None
        field = self.random.choice(fields)
        values = {field.name: self._fresh(target, field)}
        return self._set(target, values, self._new_one(target))

    def _set(
        self, target: Target, values: Values, row: sql.Composable | None = None
    ) -> sql.Composable | None:
        if not values:
            return None
        return sql.SQL("UPDATE {} SET {} WHERE ctid = {}").format(
            target.identifier, _assignments(values.items()), row or self._picked(target)
        )

    def _many(self, target: Target) -> sql.Composable | None:
        """An update of every row that shares a value with one."""
        fields = [field for field in target.writable if not self._leads(target, field)]
        if not fields or not target.references:
            return None
        field = self.random.choice(fields)
        column = sql.Identifier(self.random.choice(target.references).columns[0])
        row = self._row(target.identifier, column)
        values = [(field.name, self._value(target, field))]
        return sql.SQL("UPDATE {} SET {} WHERE {} = {}").format(
            target.identifier, _assignments(values), column, row
        )

    def _insert(self, target: Target) -> sql.Composable:
        return _inserted(target, self._new(target))

    def _upsert(self, target: Target) -> sql.Composable | None:
        """Mostly an update, of some row that has this key."""
        values = self._new(target)
        if not target.key or not all(target.field(name).writable for name in target.key):
            return None
        key = sql.SQL(", ").join(map(sql.Identifier, target.key))
        values |= {n: self._borrowed(target, target.field(n)) for n in target.key}
        new = [(n, sql.Identifier("excluded", n)) for n in values if n not in target.unique]
        action = sql.SQL("UPDATE SET {}").format(_assignments(new)) if new else sql.SQL("NOTHING")
        return sql.SQL("{} ON CONFLICT ({}) DO {}").format(_inserted(target, values), key, action)

    def _delete(self, target: Target) -> sql.Composable:
        return sql.SQL("DELETE FROM {} WHERE ctid = {}").format(
            target.identifier, self._new_one(target)
        )


def _either(borrowed: sql.Composable, made: sql.Composable | None) -> sql.Composable:
    """What is borrowed, or what was made up where there is nothing to borrow."""
    return sql.SQL("coalesce({}, {})").format(borrowed, made) if made else borrowed


def _inserted(target: Target, values: Values) -> sql.Composed:
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        target.identifier,
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(values.values()),
    )


def _assignments(values: Iterable[tuple[str, sql.Composable]]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values
    )
