"""What is watched: a table of the config joined with what the catalog knows of it.

Trigger and loader must write a value as text in the same way, or a change would
name a key that no read finds; both take that expression from here (`Column.text`).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from psycopg import sql

if TYPE_CHECKING:
    from bridge.topics import Template

OPERATIONS = frozenset({"insert", "update", "delete"})
"""What a table's changes are; TRUNCATE counts as a delete."""

Name: TypeAlias = "tuple[str | None, str]"
"""(schema, relation); without a schema, the first of that name on the search path."""

# Their output as text follows the session (DateStyle, TimeZone) and differs from the
# JSON a subscriber sees; to_jsonb follows ISO 8601 in every session.
_TEMPORAL = frozenset({"date", "timestamp"})

# Types whose text, as `Column.text` writes it, is the same in every session.
_STEADY = _TEMPORAL | {"timestamptz", "time", "timetz", "text", "varchar", "bpchar", "name"}
_STEADY |= {"bool", "int2", "int4", "int8", "numeric", "oid", "uuid", "char"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalog has it.

    `type` can be put behind `::` under any search_path, and without a length that
    would cut a value; `base` is the name of the type below any domains, and `builtin`
    tells whether that one lives in pg_catalog. A `virtual` column is computed when it
    is read (PostgreSQL 18), so no trigger sees its value.
    """

    name: str
    type: str
    base: str
    builtin: bool = True
    not_null: bool = True
    virtual: bool = False

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    @property
    def steady(self) -> bool:
        """Whether `text` gives the same in every session, or needs `SETTINGS` to."""
        return self.builtin and self.base in _STEADY

    def text(self, alias: str) -> sql.Composed:
        """SQL for this column's value as canonical text, equal in every session."""
        return self.text_of(sql.Identifier(alias, self.name))

    def text_of(self, value: sql.Composable) -> sql.Composed:
        """The same for any SQL that has this column's type."""
        if self.builtin and self.base == "timestamptz":
            return sql.SQL(
                "CASE WHEN isfinite({0}) THEN (to_jsonb({0} AT TIME ZONE 'UTC') #>> '{{}}')"
                " || '+00:00' ELSE {0}::text END"
            ).format(value)
        if self.builtin and self.base in _TEMPORAL:
            return sql.SQL("(to_jsonb({}) #>> '{{}}')").format(value)
        return sql.SQL("{}::text").format(value)


SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}
"""What a session must be set to for `Column.text` of a column that is not `steady`."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`columns` refer to `target_columns` of the relation with the oid `target`.

    `direct`: a partition has it by itself and with an action, ON UPDATE CASCADE say, which
    then writes to the partition and passes the partitioned table by.
    """

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation as the catalog has it. `kind` is `pg_class.relkind`.

    `unique` are the column sets that a unique index over not-null columns covers,
    the primary key first.
    """

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    is_partition: bool
    row_security: bool
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] | None
    unique: tuple[tuple[str, ...], ...]
    foreign_keys: tuple[ForeignKey, ...]
    foreign_children: bool = False

    @property
    def shown(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def unknown(self, name: str) -> str:
        """What to say of a column that is not there."""
        close = get_close_matches(name, [column.name for column in self.columns], n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        return f"{self.shown} has no column {name!r}{meant}"


@dataclass(frozen=True)
class Parent:
    """The table, by its public name, whose row is sent again when a row here changes.

    `columns` are own columns, each beside the column of the parent's `key` that it refers to.
    `durable` says whether the parent's changes are kept.
    """

    table: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    durable: bool = False

    def texts(self, alias: str) -> tuple[sql.Composed, ...]:
        """SQL for the parent's key as the parent's own trigger would write it, NULLs included."""
        pairs = zip(self.columns, self.key, strict=True)
        return tuple(key.text_of(_cast(own, key, alias)) for own, key in pairs)


def _cast(own: Column, key: Column, alias: str) -> sql.Composable:
    value = sql.Identifier(alias, own.name)
    if own.type == key.type:
        return value
    return sql.SQL("({}::{})").format(value, sql.SQL(key.type))


@dataclass(frozen=True)
class Audit:
    """Which of these `columns` an update changed is written down, and which values `values` have
    or had. `every`: those are all of the columns, whatever columns there are."""

    columns: tuple[Column, ...]
    values: tuple[Column, ...]
    every: bool = False


@dataclass(frozen=True)
class Table:
    """One watched table, resolved: every name in it exists.

    `routing` are the topic columns outside the key: where they change, the row moves
    between topics. `columns` are the names of what is sent, in the catalog's order: of the
    `document`'s columns where there is one, which has columns of the key's names too.
    `where` is the operator's SQL, to be used under `search_path = pg_catalog, pg_temp`.
    A table that only refreshes its `parent` has no `templates`, and a key only if it has
    one in the catalog. `sent`, where the columns are frozen, is what the last migration
    wrote down. `position` orders the rows of a log table, and no other has one. `durable`
    says that changes are kept in the database. Durations are seconds.
    """

    name: str
    schema: str
    relation: str
    oid: int
    key: tuple[Column, ...]
    columns: tuple[str, ...]
    templates: tuple[Template, ...]
    routing: tuple[Column, ...] = ()
    debounce: float = 0.1
    max_wait: float = 1.0
    leading: bool = True
    document: tuple[str, str] | None = None
    where: str | None = None
    operations: frozenset[str] = OPERATIONS
    changed: tuple[str, ...] | None = None
    trigger: str = "statement"
    position: Column | None = None
    durable: bool = False
    parent: Parent | None = None
    sent: tuple[str, ...] | None = None
    audit: Audit | None = None

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    @property
    def source(self) -> sql.Identifier:
        """What the state is read from: the document, or the table itself."""
        return sql.Identifier(*self.document) if self.document else self.identifier

    @property
    def log(self) -> bool:
        """Whether each row counts once, rather than the latest state of a key."""
        return self.position is not None

    @property
    def served(self) -> bool:
        """Whether anybody can subscribe to it, rather than only to what it refreshes."""
        return bool(self.templates)

    def rows(self, source: sql.Composable | None = None) -> sql.Composable:
        """SQL for FROM: the rows of `source`, or else of the table, that meet `where`.

        Inside the condition they go by the table's name, and nothing else can be meant.
        """
        if self.where is None:
            return source or self.identifier
        # A comment at the condition's end must not swallow the bracket.
        return sql.SQL("(SELECT * FROM {} AS {} WHERE ({}\n))").format(
            source or self.identifier, sql.Identifier(self.relation), sql.SQL(self.where)
        )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns whose values decide the topics, in the order of `State.values`."""
        return tuple(column.name for column in self.key + self.routing)

    @property
    def width(self) -> tuple[int, int]:
        """(key columns, routing columns): what `changes.parse` needs to read a payload."""
        return len(self.key), len(self.routing)
