"""The body of a capture function: what it announces of which change.

What it keeps to, because it runs inside the application's transactions:

- It never fails the statement. Everything happens in one guarded block; an error
  becomes a marker, "anything may have changed in this table", with its SQLSTATE.
- It touches no object of the bridge and runs as whoever writes, with a search_path
  of its own: a role without any right on our schema can write, and none gains one.
- A payload stays below PostgreSQL's 8,000 bytes, counted in its final text.
- Nothing in a payload is unique to its moment, so equal ones are sent once.
- Its SQL is static and names only key and topic columns, what leads to a parent, and
  what the config's `where` and `changed` name: plans are cached, and only a change to
  one of those columns can make it fail.

Two kinds of announcement: the table's own, relative to the rows that meet `where`, and
that a parent has to be sent again, which looks at every row. The payload's format is
described in `changes`, which reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from psycopg import sql

from bridge import fragments, log_capture, one_row, refresh, storage
from bridge.fragments import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.fragments import Parts
    from bridge.tables import Table

_BODY = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    said text;
BEGIN{attempt}
    BEGIN{work}
    EXCEPTION WHEN OTHERS THEN
        BEGIN{fault}
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'rowcast: a change of % was not announced: %', TG_RELID::regclass,
                SQLERRM;
        END;
    END;
    RETURN NULL;
END
"""
)

_WORK = sql.SQL(
    """
        IF TG_OP = 'INSERT' THEN{insert}
        ELSIF TG_OP = 'UPDATE' THEN{update}
        ELSIF TG_OP = 'DELETE' THEN{delete}
        ELSE{truncate}
        END IF;"""
)

# As a condition it is no statement, which costs less.
_AT_ONCE = sql.SQL(
    """
        IF said = '' OR said IS NOT NULL AND pg_notify({channel}, said) IS NOT NULL THEN
            RETURN NULL;
        END IF;"""
)

# The keys are worked out under the guard, and kept outside it: the block of a guard that
# writes is a subtransaction with a number, and past 64 of those in a transaction every
# other session slows down. What is kept outside has nothing left in it that could fail.
_KEEPING = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    before int;
    said text;
    kept text[];
BEGIN{attempt}
    IF said <> '' THEN
        INSERT INTO {store} (slot, payload) VALUES ({slot}, said);
    ELSIF said = '' THEN
        RETURN NULL;
    ELSE
        kept := '{{}}';
        <<capture>>
        BEGIN{work}
        EXCEPTION WHEN OTHERS THEN
            kept := '{{}}';
            BEGIN{fault}
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'rowcast: a change of % was not kept: %', TG_RELID::regclass, SQLERRM;
            END;
        END capture;
        IF kept = '{{}}' OR {writable} IS NOT TRUE THEN
            RETURN NULL;
        END IF;
        INSERT INTO {store} (slot, payload) SELECT {slot}, unnest(kept);
    END IF;
    -- It is not rung for where an instance holds the lock, or asks for it: then it looks by itself,
    -- for rings commit one after the other. Nor where transactions may be prepared, for one that
    -- has notified cannot be.
    IF pg_try_advisory_xact_lock_shared({pace})
        AND current_setting('max_prepared_transactions') = '0'
    THEN
        PERFORM pg_notify({channel}, CASE WHEN octet_length(said) <= {short}
            THEN {named} || pg_current_xact_id() || '",' || substr(said, 2) ELSE {ring} END);
    END IF;
    RETURN NULL;
END
"""
)

# Rows that no longer meet the condition count as much as those that now do.
_COUNT_MET = sql.SQL(
    """
        touched := greatest(
            (SELECT count(*) FROM (SELECT FROM {olds} AS o LIMIT {most} + 1) AS c),
            (SELECT count(*) FROM (SELECT FROM {news} AS n LIMIT {most} + 1) AS c));"""
)

# One row is what most statements touch, and half as dear by itself: no join, no window.
# What that cannot say (a new key, no change, too long an entry) goes the general way.
# An entry that is NULL has a NULL in its key, which no subscriber can ask for.
_OWN = sql.SQL(
    """{begin}{count}
        IF touched = 1 THEN
            {say}{head} || e.operation || '","k":[' || e.entry || ']}}'{said}
            FROM ({one}) AS e
            WHERE octet_length(e.entry) <= {size}{end};
            IF {heard} THEN {done}; END IF;
        END IF;
        IF touched > {most} THEN{truncate}
        ELSIF touched > 0 THEN
            {say}CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= {size}, false))
                THEN {head} || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}}'
                ELSE {marker} || '}}' END{said}
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / {page} AS page
                FROM ({several}) AS e
            ) AS p
            GROUP BY p.operation, p.page{end};
        END IF;"""
)

_OWN_ROW = sql.SQL(
    """
        {say}CASE WHEN octet_length(e.entry) <= {size}
            THEN {head} || e.operation || '","k":[' || e.entry || ']}}'
            ELSE {marker} || '}}' END{said}
        FROM ({one}) AS e{end};"""
)
_OTHERWISE = sql.SQL("{first}\n        IF NOT ({heard}) THEN{otherwise}\n        END IF;")

_INSERTED = sql.SQL("SELECT 'i' AS operation, {new} AS entry FROM {news} AS n")
_DELETED = sql.SQL("SELECT 'd' AS operation, {old} AS entry FROM {olds} AS o")
_UPDATED = sql.SQL(
    """
                SELECT 'u' AS operation, {changed} AS entry FROM {olds} AS o, {news} AS n
                WHERE {same} AND {differs}"""
)
_JOINED = sql.SQL(
    """
                    SELECT CASE WHEN {added} THEN 'i' WHEN {removed} THEN 'd' ELSE 'u' END
                               AS operation,
                           CASE WHEN {added} THEN {new} WHEN {removed} THEN {old} ELSE {changed} END
                               AS entry
                    FROM {olds} AS o FULL JOIN {news} AS n ON {same}
                    WHERE {added} OR {removed} OR {differs}"""
)
_MOVED = sql.SQL(
    """
            SELECT 'd' AS operation, {old} AS entry FROM {olds} AS o
            WHERE NOT EXISTS (SELECT FROM {news} AS n WHERE {same})
            UNION ALL
            SELECT 'i', {new} FROM {news} AS n
            WHERE NOT EXISTS (SELECT FROM {olds} AS o WHERE {same})"""
)


def body(table: Table, schema: str) -> str:
    """The text between the dollar quotes: what `pg_proc.prosrc` will hold."""
    if table.log:
        return log_capture.body(table, schema)
    said = list(_announcements(table, schema))
    events = ("insert", "update", "delete", "truncate", "fault")
    branches = {event: sql.SQL("").join(parts[event] for parts in said) for event in events}
    parts = {"attempt": _attempt(table, schema), "work": _WORK.format(**branches)}
    parts["fault"] = branches["fault"]
    if not keeps(table):
        return _BODY.format(**parts).as_string(None)
    return _KEEPING.format(**parts, **_kept(schema)).as_string(None)


def _attempt(table: Table, schema: str) -> sql.Composed:
    """Where a condition or a parent is to be looked at too, the general way costs less."""
    if table.where or table.parent:
        return sql.Composed([])
    pieces = _pieces(table, "old", "new") if table.trigger == "row" else _pieces(table)
    if table.durable:
        return one_row.attempt(table, pieces, wanted=storage.may_write(schema, "changes"))
    return one_row.attempt(table, pieces, said=_AT_ONCE.format(channel=sql.Literal(schema)))


def keeps(table: Table) -> bool:
    """Whether its function writes to a store of the bridge, for itself or for its parent."""
    return table.log or table.durable or (table.parent is not None and table.parent.durable)


def _kept(schema: str) -> Parts:
    store = storage.relation(schema, "changes")
    return {
        "store": store,
        "writable": storage.writable(schema, "changes"),
        "slot": storage.slot(schema, "changes"),
        "pace": storage.pace(schema, "changes"),
        "channel": sql.Literal(schema),
        "ring": sql.Literal(json.dumps({"ring": "changes"})),
        "named": sql.Literal('{"ring":"changes","xid":"'),
        "short": sql.Literal(fragments.PAYLOAD),
    }


def _announcements(table: Table, channel: str) -> Iterator[Parts]:
    """By event; the table's own comes last, for it may return."""
    if table.parent:
        yield refresh.announcement(table, table.parent, channel)
    if table.served:
        yield _own(table, channel)


def _own(table: Table, channel: str) -> Parts:
    voice, pieces = fragments.voice(table.name, channel, durable=table.durable), _pieces(table)
    voice["done"] = sql.SQL("EXIT capture" if keeps(table) else "RETURN NULL")
    if table.trigger == "row":
        return voice | {
            "insert": _row(voice, pieces, _INSERTED),
            "update": voice["begin"]
            + _OTHERWISE.format(
                **voice,
                first=_row(voice, pieces, _UPDATED),
                otherwise=_row(voice, pieces, _MOVED),
            ),
            "delete": _row(voice, pieces, _DELETED),
        }
    news, olds = (fragments.count(pieces[rows], voice) for rows in ("news", "olds"))
    both = _COUNT_MET.format(**voice, **pieces) if table.where else news
    return voice | {
        "insert": _statement(voice, pieces, news, _INSERTED, _INSERTED),
        "update": _statement(voice, pieces, both, _UPDATED, _JOINED),
        "delete": _statement(voice, pieces, olds, _DELETED, _DELETED),
    }


def _row(voice: Parts, pieces: Parts, one: sql.SQL) -> sql.Composed:
    return _OWN_ROW.format(**voice, one=one.format(**pieces))


def _statement(
    voice: Parts, pieces: Parts, count: sql.Composed, one: sql.SQL, several: sql.SQL
) -> sql.Composed:
    return _OWN.format(
        **voice, count=count, one=one.format(**pieces), several=several.format(**pieces)
    )


def _pieces(table: Table, o: str = OLD, n: str = NEW) -> Parts:
    """The pieces of SQL that depend on the table's columns, and on what its rows go by."""
    new = fragments.entry([column.text(n) for column in table.key])
    routing = [column.text(o) for column in table.routing]
    old = fragments.entry([column.text(o) for column in table.key], routing)
    pieces: Parts = {"new": new, "old": old, "changed": new}
    if table.routing:  # with its old topic columns if one of them is another now
        stays = fragments.same_text(table.routing, o, n)
        pieces["changed"] = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(stays, new, old)
    return pieces | fragments.comparison(table, o, n) | fragments.met(table)
