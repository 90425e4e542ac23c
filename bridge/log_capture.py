"""The body of a log table's capture function: each inserted row gets a number of its own.

It keeps to the rules of `capture`, with which it shares the guard: the keys are worked
out inside it, and written down outside, where nothing is left that could fail. It runs as
its owner, so that a writer needs no right on the log. Rows are numbered in the order of
their position within a statement, and `where` decides which of them count.

Where a key cannot be told (its column is gone, it is too long for an index), `*` stands in
its place: rows were missed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from psycopg import sql

from bridge import fragments, storage
from bridge.fragments import NEW

if TYPE_CHECKING:
    from bridge.tables import Table

UNKNOWN = "*"
"""In place of a key: rows that cannot be named."""

ENTRY = 2_300
"""Bytes of a key's entry; an index takes some 2,700 together with the table's name."""

# The order of the numbers is that of `unnest`: defaults are worked out above the sort.
_BODY = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    kept text[];
BEGIN
    BEGIN
        kept := ARRAY(
            SELECT CASE WHEN octet_length(e.entry) <= {size} THEN e.entry ELSE {unknown} END
            FROM (SELECT {entry} AS entry, {position} AS position FROM {rows} AS n) AS e
            ORDER BY e.position);
    EXCEPTION WHEN OTHERS THEN
        kept := ARRAY[{unknown}];
    END;
    IF kept <> '{{}}' AND {writable} THEN
        INSERT INTO {log} (slot, source, key)
        SELECT {slot}, {source}, k.entry
        FROM unnest(kept) WITH ORDINALITY AS k(entry, n) ORDER BY k.n;
        -- Where transactions may be prepared, the bridge looks by itself: one that has
        -- notified cannot be.
        IF current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify({channel}, {ring});
        END IF;
    END IF;
    RETURN NULL;
END
"""
)


def body(table: Table, schema: str) -> str:
    """The text between the dollar quotes."""
    assert table.position is not None
    log = storage.relation(schema, "log")
    return _BODY.format(
        entry=entry(table, NEW),
        position=sql.Identifier(NEW, table.position.name),
        rows=fragments.met(table)["news"],
        size=sql.Literal(ENTRY),
        unknown=sql.Literal(UNKNOWN),
        log=log,
        writable=storage.writable(schema, "log"),
        slot=storage.slot(schema, "log"),
        source=sql.Literal(table.name),
        channel=sql.Literal(schema),
        ring=sql.Literal(json.dumps({"ring": "log"})),
    ).as_string(None)


def entry(table: Table, alias: str) -> sql.Composed:
    """SQL for a row's key as it stands in the log."""
    return fragments.entry([column.text(alias) for column in table.key])
