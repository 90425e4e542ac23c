"""What is watched: a table of the config joined with what the catalog knows of it.

Trigger and loader must write a value as text in the same way, or a change would
name a key that no read finds; both take that expression from here (`Column.text`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from psycopg import sql

if TYPE_CHECKING:
    from bridge.topics import Template

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
        value = sql.Identifier(alias, self.name)
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
    """`columns` refer to `target_columns` of the relation with the oid `target`."""

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]


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

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Table:
    """One watched table, resolved: every name in it exists.

    `routing` are the topic columns outside the key: where they change, the row moves
    between topics. `columns` are the names of what is sent, in the catalog's order.
    Durations are seconds.
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

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns whose values decide the topics, in the order of `State.values`."""
        return tuple(column.name for column in self.key + self.routing)

    @property
    def width(self) -> tuple[int, int]:
        """(key columns, routing columns): what `changes.parse` needs to read a payload."""
        return len(self.key), len(self.routing)
