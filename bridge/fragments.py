"""Pieces of the SQL of capture that follow from a table's columns.

`o` and `n` are old and new rows. They come from transition tables, where a trigger
fires for a statement, or from OLD and NEW, where it fires for a row; from there on the
SQL is the same. An entry is what a payload says of one key: a JSON array of texts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from bridge.tables import Column, Table

    Parts: TypeAlias = dict[str, sql.Composable]

PAYLOAD = 7_900
"""Bytes of a payload, at most. PostgreSQL raises at 8,000."""

ENTRY = 2_600
"""Bytes of one key's entry; a longer one becomes a marker."""

MANY = 1_000
"""Keys that one statement may announce; more become a marker, which costs less for everybody."""

# Types that have one text per value by `=`. Any other is compared by its text: 1.0 and
# 1.00, or two spellings of a citext, are equal and yet name different keys here.
_EQUAL_BY_TEXT = frozenset({"bool", "int2", "int4", "int8", "oid", "uuid"})

OLD, NEW = "o", "n"

_SOURCES = {
    "statement": (sql.SQL("old_rows"), sql.SQL("new_rows")),
    "row": (sql.SQL("(SELECT OLD.*)"), sql.SQL("(SELECT NEW.*)")),
}

_COUNT = sql.SQL(
    """
        PERFORM FROM {rows} AS r LIMIT {most} + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;"""
)
_MARK = sql.SQL("\n        {say}{marker} || '}}'{said}{end};")
_FAULT = sql.SQL("""\n        {say}{marker} || ',"e":"' || SQLSTATE || '"}}'{said}{end};""")

# What is said of a durable table is collected, for the function to keep at its end.
_COLLECTED = {
    "say": sql.SQL("kept := kept || ARRAY(SELECT "),
    "said": sql.SQL(""),
    "end": sql.SQL(")"),
    "begin": sql.SQL("\n        before := cardinality(kept);"),
    "heard": sql.SQL("cardinality(kept) > before"),
}


def voice(name: str, channel: str, *, durable: bool, most: int = MANY) -> Parts:
    """What every payload about the table of this public name has in common.

    SQL says one as `{say}` payload `{said} FROM … {end}`, and after `{begin}` can ask by
    `{heard}` whether anything was said. `most` is how many rows of a statement are looked
    at; more, or an error, is a marker.
    """
    head = _head(name)
    parts: Parts = {
        **(_COLLECTED if durable else _notified(channel)),
        "head": sql.Literal(f'{head}"'),
        "marker": sql.Literal(f'{head}"*"'),
        "many": sql.Literal(MANY),
        "most": sql.Literal(most),
        "size": sql.Literal(ENTRY),
        "page": sql.Literal(max(1, PAYLOAD - ENTRY - len(head) - 16)),
    }
    return parts | {"truncate": _MARK.format(**parts), "fault": _FAULT.format(**parts)}


def openings(name: str) -> Parts:
    """By event: how a payload about this public name begins, up to its first key."""
    events = "insert", "update", "delete"
    return {event: sql.Literal(f'{_head(name)}"{event[0]}","k":[') for event in events}


def _head(name: str) -> str:
    return f'{{"t":{json.dumps(name)},"o":'  # ASCII, so it fits every server encoding


def _notified(channel: str) -> Parts:
    return {
        "say": sql.SQL("PERFORM pg_notify({}, ").format(sql.Literal(channel)),
        "said": sql.SQL(")"),
        "end": sql.SQL(""),
        "begin": sql.SQL(""),
        "heard": sql.SQL("FOUND"),
    }


def sources(table: Table) -> Parts:
    """Where all old and new rows come from."""
    olds, news = _SOURCES[table.trigger]
    return {"olds": olds, "news": news}


def met(table: Table) -> Parts:
    """Where those come from that meet the table's condition."""
    return {name: table.rows(source) for name, source in sources(table).items()}


def count(rows: sql.Composable, parts: Parts) -> sql.Composed:
    """Sets `touched` to the number of rows, or to `most` + 1."""
    return _COUNT.format(rows=rows, most=parts["most"])


def comparison(table: Table, old: str = OLD, new: str = NEW) -> Parts:
    """Whether an old and a new row are the same row, and whether it differs."""
    if not table.key:
        return {"differs": _differs(table, old, new)}
    first = table.key[0].name
    return {
        "differs": _differs(table, old, new),
        "same": sql.SQL(" AND ").join(_same_key(column, old, new) for column in table.key),
        "added": sql.SQL("{} IS NULL").format(sql.Identifier(old, first)),
        "removed": sql.SQL("{} IS NULL").format(sql.Identifier(new, first)),
    }


def entry(texts: Iterable[sql.Composable], nullable: Iterable[sql.Composable] = ()) -> sql.Composed:
    """A JSON array of texts; NULL if one outside `nullable` is NULL, as `||` has it."""
    parts = [sql.SQL("to_json({})::text").format(text) for text in texts]
    parts += [sql.SQL("coalesce(to_json({})::text, 'null')").format(text) for text in nullable]
    return sql.SQL("('[' || {} || ']')").format(sql.SQL(" || ',' || ").join(parts))


def short(columns: Iterable[Column]) -> bool:
    """Whether no entry of these columns can be longer than `ENTRY`."""
    return all(column.builtin and column.base in _EQUAL_BY_TEXT for column in columns)


def same_text(columns: Sequence[Column], old: str = OLD, new: str = NEW) -> sql.Composed:
    """Whether none of these columns has another text now."""
    return sql.SQL(" AND ").join(
        sql.SQL('({}) COLLATE "C" IS NOT DISTINCT FROM ({}) COLLATE "C"').format(
            column.text(old), column.text(new)
        )
        for column in columns
    )


def _differs(table: Table, old: str, new: str) -> sql.Composable:
    """`*<>` compares what is stored, for there are types without `=`, such as json."""
    if table.changed is None and table.trigger == "row":
        # Of `o.*` an old session's plan has the columns that there were when it was made.
        return sql.SQL("OLD OPERATOR(pg_catalog.*<>) NEW")
    if table.changed is None:
        return sql.SQL("o.* OPERATOR(pg_catalog.*<>) n.*")
    led = table.parent.columns if table.parent else ()
    named = (column.name for column in (*table.key, *table.routing, *led))
    names = dict.fromkeys((*named, *table.changed))
    olds, news = (
        sql.SQL(", ").join(sql.Identifier(alias, name) for name in names) for alias in (old, new)
    )
    # The cast keeps PostgreSQL from comparing column by column, each by its own operator.
    return sql.SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(olds, news)


def _same_key(column: Column, old: str, new: str) -> sql.Composed:
    if column.builtin and column.base in _EQUAL_BY_TEXT:
        return sql.SQL("{} = {}").format(
            sql.Identifier(old, column.name), sql.Identifier(new, column.name)
        )
    return sql.SQL('({}) COLLATE "C" = ({}) COLLATE "C"').format(column.text(old), column.text(new))
