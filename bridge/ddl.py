"""The SQL of capture: one function and four triggers per watched table.

What the function keeps to, because it runs inside the application's transactions:

- It never fails the statement. Everything happens in one guarded block; an error
  becomes a marker, "anything may have changed in this table", with its SQLSTATE.
- It touches no object of the bridge and runs as whoever writes, with a search_path
  of its own: a role without any right on our schema can write, and none gains one.
- A payload stays below PostgreSQL's 8,000 bytes, counted in its final text.
- Nothing in a payload is unique to its moment, so equal ones are sent once.
- Its SQL is static and names only key and topic columns: plans are cached, and
  only a change to one of those columns can make it fail.

The payload's format is described in `changes`, which reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from psycopg import sql

from bridge.tables import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import LiteralString

    from bridge.tables import Column, Table

PAYLOAD = 7_900
"""Bytes of a payload, at most. PostgreSQL raises at 8,000."""

ENTRY = 2_600
"""Bytes of one key's entry; a longer one becomes a marker."""

MANY = 1_000
"""Rows of one statement; more become a marker, which costs less for everybody."""

# Types that have one text per value by `=`. Any other is compared by its text: 1.0 and
# 1.00, or two spellings of a citext, are equal and yet name different keys here.
_EQUAL_BY_TEXT = frozenset({"bool", "int2", "int4", "int8", "oid", "uuid"})

_OLD, _NEW = "o", "n"

_FUNCTION = sql.SQL(
    """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp{settings}
AS {tag}{body}{tag}"""
)

_BODY = sql.SQL(
    """
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint := {many} + 1;
BEGIN
    IF TG_OP = 'INSERT' THEN{insert}
    ELSIF TG_OP = 'UPDATE' THEN{update}
    ELSIF TG_OP = 'DELETE' THEN{delete}
    END IF;
    IF touched > {many} THEN
        PERFORM pg_notify({channel}, {marker} || '}}');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        PERFORM pg_notify({channel}, {marker} || ',"e":"' || SQLSTATE || '"}}');
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'rowcast: a change of % was not announced: %', TG_RELID::regclass, SQLERRM;
    END;
    RETURN NULL;
END
"""
)

# One row is what most statements touch, and half as dear by itself: no join, no window.
# What that cannot say (a new key, no change, too long an entry) goes the general way.
# An entry that is NULL has a NULL in its key, which no subscriber can ask for.
_BRANCH = sql.SQL(
    """
        PERFORM FROM {rows} LIMIT {many} + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            PERFORM pg_notify({channel}, {head} || e.operation || '","k":[' || e.entry || ']}}')
            FROM ({one}) AS e
            WHERE octet_length(e.entry) <= {size};
            IF FOUND THEN RETURN NULL; END IF;
        END IF;
        IF touched BETWEEN 1 AND {many} THEN
            PERFORM pg_notify({channel}, CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= {size}, false))
                THEN {head} || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}}'
                ELSE {marker} || '}}' END)
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / {page} AS page
                FROM ({several}) AS e
            ) AS p
            GROUP BY p.operation, p.page;
        END IF;"""
)

_INSERTED = sql.SQL("SELECT 'i' AS operation, {new} AS entry FROM new_rows AS n")
_DELETED = sql.SQL("SELECT 'd' AS operation, {old} AS entry FROM old_rows AS o")

# `*<>` compares what is stored, for there are types without `=`, such as json.
_UPDATED = sql.SQL(
    """
                SELECT 'u' AS operation, {changed} AS entry FROM old_rows AS o, new_rows AS n
                WHERE {same} AND o.* OPERATOR(pg_catalog.*<>) n.*"""
)
_JOINED = sql.SQL(
    """
                    SELECT CASE WHEN {added} THEN 'i' WHEN {removed} THEN 'd' ELSE 'u' END
                               AS operation,
                           CASE WHEN {added} THEN {new} WHEN {removed} THEN {old} ELSE {changed} END
                               AS entry
                    FROM old_rows AS o FULL JOIN new_rows AS n ON {same}
                    WHERE {added} OR {removed} OR o.* OPERATOR(pg_catalog.*<>) n.*"""
)

_TRIGGER = sql.SQL(
    "CREATE TRIGGER {name} AFTER {event} ON {table}{rows}\n"
    "FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
)

_ROWS = {
    "insert": " REFERENCING NEW TABLE AS new_rows",
    "update": " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": " REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


def body(table: Table, channel: str) -> str:
    """The text between the dollar quotes: what `pg_proc.prosrc` will hold."""
    head = _message(table.name)
    shared = {
        "channel": sql.Literal(channel),
        "head": sql.Literal(f'{head}"'),
        "marker": sql.Literal(f'{head}"*"'),
        "many": sql.Literal(MANY),
        "size": sql.Literal(ENTRY),
        "page": sql.Literal(max(1, PAYLOAD - ENTRY - len(head) - 16)),
    }
    pieces = _pieces(table)

    def branch(rows: LiteralString, one: sql.SQL, several: sql.SQL) -> sql.Composed:
        one_row, more = one.format(**pieces), several.format(**pieces)
        return _BRANCH.format(**shared, rows=sql.SQL(rows), one=one_row, several=more)

    text = _BODY.format(
        **shared,
        insert=branch("new_rows", _INSERTED, _INSERTED),
        update=branch("new_rows", _UPDATED, _JOINED),
        delete=branch("old_rows", _DELETED, _DELETED),
    )
    return text.as_string(None)


def settings(table: Table) -> tuple[tuple[str, str], ...]:
    """What the function sets beside search_path so that its text does not vary."""
    return () if all(c.steady for c in table.key + table.routing) else tuple(SETTINGS.items())


def function(schema: str, name: str, table: Table, comment: str) -> tuple[str, str]:
    """Statements that create or replace the function and say what it is. No table is locked."""
    identifier = sql.Identifier(schema, name)
    create = _FUNCTION.format(
        function=identifier,
        settings=sql.SQL("").join(map(_setting, settings(table))),
        tag=sql.SQL(f"${name}$"),  # a name made of a hash; the body cannot contain it
        body=sql.SQL(body(table, schema)),
    )
    describe = sql.SQL("COMMENT ON FUNCTION {}() IS {}").format(identifier, sql.Literal(comment))
    return create.as_string(None), describe.as_string(None)


def trigger(name: str, event: str, table: sql.Identifier, function: sql.Identifier) -> str:
    """CREATE TRIGGER; `event` is one of insert, update, delete, truncate."""
    parts = {"event": sql.SQL(event.upper()), "rows": sql.SQL(_ROWS[event])}
    composed = _TRIGGER.format(name=sql.Identifier(name), table=table, function=function, **parts)
    return composed.as_string(None)


def _message(name: str) -> str:
    """A payload up to its operation's quote. ASCII, so it fits every server encoding."""
    return f'{{"t":{json.dumps(name)},"o":'


def _setting(setting: tuple[str, str]) -> sql.Composed:
    name, value = setting
    return sql.SQL("\nSET {} = {}").format(sql.Identifier(name), sql.Literal(value))


def _pieces(table: Table) -> dict[str, sql.Composable]:
    """The pieces of SQL that depend on the table's columns. `o` and `n` are old and new rows."""
    first = table.key[0].name
    new, old = _entry(table.key, (), _NEW), _entry(table.key, table.routing, _OLD)
    return {
        "new": new,
        "old": old,
        "changed": _changed(table.routing, new, old),
        "same": sql.SQL(" AND ").join(map(_same_key, table.key)),
        "added": sql.SQL("{} IS NULL").format(sql.Identifier(_OLD, first)),
        "removed": sql.SQL("{} IS NULL").format(sql.Identifier(_NEW, first)),
    }


def _changed(routing: Sequence[Column], new: sql.Composed, old: sql.Composed) -> sql.Composed:
    """An updated row's entry: with its old topic columns if one of them is another now."""
    if not routing:
        return new
    stays = sql.SQL(" AND ").join(map(_same_text, routing))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(stays, new, old)


def _entry(key: Sequence[Column], routing: Iterable[Column], alias: str) -> sql.Composed:
    """A JSON array of texts; NULL if a key column is NULL, as `||` has it."""
    texts = [sql.SQL("to_json({})::text").format(column.text(alias)) for column in key]
    texts += [
        sql.SQL("coalesce(to_json({})::text, 'null')").format(column.text(alias))
        for column in routing
    ]
    return sql.SQL("('[' || {} || ']')").format(sql.SQL(" || ',' || ").join(texts))


def _same_key(column: Column) -> sql.Composed:
    if column.builtin and column.base in _EQUAL_BY_TEXT:
        old, new = sql.Identifier(_OLD, column.name), sql.Identifier(_NEW, column.name)
        return sql.SQL("{} = {}").format(old, new)
    return sql.SQL('({}) COLLATE "C" = ({}) COLLATE "C"').format(
        column.text(_OLD), column.text(_NEW)
    )


def _same_text(column: Column) -> sql.Composed:
    return sql.SQL('({}) COLLATE "C" IS NOT DISTINCT FROM ({}) COLLATE "C"').format(
        column.text(_OLD), column.text(_NEW)
    )
