"""Pieces of SQL of an audit: which columns of a row changed, and what they had and have.

`o` and `n` are the old and the new row, as in `fragments`. Columns are compared by what is
stored, for there are types without `=`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bridge.fragments import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.fragments import Parts
    from bridge.tables import Column

_NARROW = 40
"""Columns to one call; PostgreSQL takes a hundred arguments."""


def array(texts: Sequence[sql.Composable]) -> sql.Composed:
    """SQL for an array's text without its NULLs; an array of arrays could not be collected."""
    return sql.SQL("array_remove(ARRAY[{}]::text[], NULL)::text").format(sql.SQL(", ").join(texts))


def _differs(column: Column) -> sql.Composed:
    old, new = sql.Identifier(OLD, column.name), sql.Identifier(NEW, column.name)
    return sql.SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(old, new)


def name_of(column: Column) -> sql.Composed:
    """SQL for the column's name where it has another value now; else NULL."""
    return sql.SQL("CASE WHEN {} THEN {} END").format(_differs(column), sql.Literal(column.name))


def values(columns: Sequence[Column]) -> Parts:
    """Of whole rows, and of what an update has changed."""
    return {
        "old_row": _object(columns, OLD),
        "new_row": _object(columns, NEW),
        "old_values": _differing(columns, OLD),
        "new_values": _differing(columns, NEW),
    }


def _object(columns: Sequence[Column], alias: str) -> sql.Composed:
    objects = [
        _build(columns[place : place + _NARROW], alias) for place in range(0, len(columns), _NARROW)
    ]
    return sql.SQL("({})").format(sql.SQL(" || ").join(objects))


def _differing(columns: Sequence[Column], alias: str) -> sql.Composed:
    case = sql.SQL("CASE WHEN {} THEN {} ELSE '{{}}' END")
    objects = [case.format(_differs(column), _build([column], alias)) for column in columns]
    return sql.SQL("({})").format(sql.SQL(" || ").join(objects))


def _build(columns: Sequence[Column], alias: str) -> sql.Composed:
    pairs = [sql.SQL("{}, {}").format(sql.Literal(c.name), _value(c, alias)) for c in columns]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _value(column: Column, alias: str) -> sql.Composed:
    """A type of somebody's own may have a cast to json, a function that would run as our owner."""
    value = sql.Identifier(alias, column.name)
    return sql.SQL("to_jsonb({})" if column.builtin else "to_jsonb({}::text)").format(value)
