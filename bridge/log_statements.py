"""The SQL that reads the log, and rows that are older than it. Pure, composed once each."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from psycopg import sql

from bridge import log_capture, storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.tables import Column, Table
    from bridge.topics import Template

_ENTRIES = """
SELECT seq, source, key, extract(epoch FROM clock_timestamp() - at)::float8
FROM {log} WHERE seq > $1 AND seq <= $2{only} ORDER BY seq LIMIT $3
"""

# The rows are looked up where they are: a topic of few would else have all of them sent here.
_MATCHING = """
SELECT seq, source, key, 0.0::float8 FROM {log} AS l
WHERE seq > $1 AND seq <= $2 AND source = $4 AND
    CASE WHEN left(l.key, 1) <> '[' THEN true
         WHEN jsonb_array_length(l.key::jsonb) <> {width} THEN true
         ELSE EXISTS (SELECT FROM {table} AS t WHERE {match}{conditions}) END
ORDER BY seq LIMIT $3
"""

# Another cluster, another timeline, another database: numbers mean something else there.
_ABOUT = """
SELECT md5(concat_ws(' ', a.identity, c.system_identifier,
                     left(pg_walfile_name(pg_current_wal_lsn()), 8), d.oid)),
       coalesce(a.pruned, 0), CASE WHEN s.is_called THEN s.last_value ELSE 0 END
FROM {about} AS a, {seq} AS s, pg_control_system() AS c, pg_database AS d
WHERE d.datname = current_database()
"""

# The log's own lock, which every insert takes before its number and keeps to the end. A
# transaction that is prepared goes on under the same name.
_HOLDERS = """
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = {log}::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted
  AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND pid IS DISTINCT FROM pg_backend_pid()
"""

_WHO = """
SELECT l.pid, coalesce(s.application_name, ''), coalesce(p.gid, '')
FROM pg_locks AS l
LEFT JOIN pg_stat_activity AS s ON s.pid = l.pid
LEFT JOIN pg_prepared_xacts AS p ON l.pid IS NULL AND p.transaction = (
    SELECT x.transactionid FROM pg_locks AS x WHERE x.locktype = 'transactionid'
    AND x.virtualtransaction = l.virtualtransaction AND x.pid IS NULL LIMIT 1)
WHERE l.virtualtransaction = $1 AND l.relation = {log}::regclass
LIMIT 1
"""

# The oldest slot in use is the next to be emptied. Numbers beyond its last are safe from that.
_FIRST = """
SELECT coalesce((SELECT s.last FROM (VALUES {slots}) AS s(n, last), {counter} AS c
    WHERE s.last IS NOT NULL AND s.n <> c.last_value % {count}
    ORDER BY (s.n - c.last_value - 1 + {count}) % {count} LIMIT 1),
    (SELECT a.pruned FROM {about} AS a), 0)
"""
_LAST = "({n}::bigint, (SELECT seq FROM {log} WHERE slot = {n} ORDER BY seq DESC LIMIT 1))"

# Whether a row is older than the log is asked of each row of a page by itself, through the
# index, and after the page was read: those who see a row may not be let near the log.
_HISTORY = """
SELECT ARRAY[{texts}], {entry} FROM {rows} AS t WHERE true{conditions} ORDER BY {order} LIMIT $1
"""
_UNLOGGED = """
SELECT n FROM unnest($3::text[]) WITH ORDINALITY AS e(entry, n) WHERE (
    SELECT l.seq FROM {log} AS l WHERE l.source = $2 AND l.key = e.entry AND l.seq > $1 LIMIT 1
) IS NULL
"""


class LogStatements:
    """`schema` is the bridge's own. Parameters are named where each statement is used."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._log = storage.relation(schema, "log")
        name = sql.Literal(self._log.as_string(None))
        self.about = self._compose(_ABOUT)
        self.holders = self._compose(_HOLDERS, log=name)
        self.who = self._compose(_WHO, log=name)
        self.first = self._compose(_FIRST, slots=self._slots(), count=sql.Literal(storage.SLOTS))
        self.entries = self._compose(_ENTRIES, log=self._log, only=sql.SQL(""))
        self.entries_of = self._compose(_ENTRIES, log=self._log, only=sql.SQL(" AND source = $4"))
        self.unlogged = self._compose(_UNLOGGED, log=self._log)
        self.history = cache(_history)
        self.matching = cache(self._matching)

    def _compose(self, statement: str, **parts: sql.Composable) -> sql.Composed:
        own = {
            "about": storage.about(self._schema, "log"),
            "seq": sql.Identifier(self._schema, "log_seq"),
            "counter": sql.Identifier(self._schema, "log_slot"),
        }
        return sql.SQL(statement).format(**own | parts)

    def _slots(self) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL(_LAST).format(n=sql.Literal(n), log=self._log) for n in range(storage.SLOTS)
        )

    def _matching(self, table: Table, template: Template, *, skipping: bool) -> sql.Composed:
        """(after, up to, at most, source) and then the values of the topic, and if `skipping` the
        position to leave out and the number up to which → entries whose rows match, or may."""
        conditions: list[sql.Composable] = [sql.SQL("")]
        wanted = columns(table, template)
        conditions += [_equals(column, n) for n, column in enumerate(wanted, 5)]
        if skipping:
            n = 5 + len(wanted)
            beyond = _beyond(ordering(table)[:1], n)
            conditions.append(
                sql.SQL("({} OR l.seq > ${}::bigint)").format(beyond, sql.Literal(n + 1))
            )
        return sql.SQL(_MATCHING).format(
            log=self._log,
            width=sql.Literal(len(table.key)),
            table=table.identifier,
            match=sql.SQL(" AND ").join(
                sql.SQL("t.{} = (l.key::jsonb ->> {})::{}").format(
                    column.identifier, sql.Literal(n), sql.SQL(column.type)
                )
                for n, column in enumerate(table.key)
            ),
            conditions=sql.SQL(" AND ").join(conditions),
        )


def _history(table: Table, template: Template, *, begun: bool, skipping: bool) -> sql.Composed:
    """(rows at most) and then the values of the topic, if `begun` the position and key after
    which to go on, and if `skipping` the position to leave out → for each row (position and
    key as texts, its entry if the log has it)."""
    order, n = ordering(table), 2
    conditions: list[sql.Composable] = [sql.SQL("")]
    for column in columns(table, template):
        conditions.append(_equals(column, n))
        n += 1
    if begun:
        conditions.append(_beyond(order, n))
        n += len(order)
    if skipping:
        conditions.append(_beyond(order[:1], n))
    return sql.SQL(_HISTORY).format(
        texts=_comma([column.text("t") for column in order]),
        entry=log_capture.entry(table, "t"),
        rows=table.rows(),
        conditions=sql.SQL(" AND ").join(conditions),
        order=_comma([sql.Identifier("t", column.name) for column in order]),
    )


def columns(table: Table, template: Template) -> list[Column]:
    """The columns that make the template's topics."""
    known = {column.name: column for column in table.key + table.routing}
    return [known[name] for name in template.columns]


def ordering(table: Table) -> list[Column]:
    """What puts all rows into one order: the position, then what else the key has."""
    assert table.position is not None
    return [table.position, *(column for column in table.key if column != table.position)]


def typed(columns: Sequence[Column]) -> sql.Composed:
    """Texts → the texts that rows of these values have. Fails where a text is no such value."""
    return sql.SQL("SELECT ARRAY[{}]::text[]").format(
        _comma(
            [
                sql.SQL("(SELECT {} FROM (SELECT {} AS {}) AS s)").format(
                    column.text("s"), _cast(column, n), column.identifier
                )
                for n, column in enumerate(columns, 1)
            ]
        )
    )


def beyond(position: Column) -> sql.Composed:
    """(positions as JSON, one position as text) → which of them, from 1, are beyond that one."""
    return sql.SQL(
        "SELECT n FROM unnest($1::text[]) WITH ORDINALITY AS u(p, n)"
        " WHERE (p::jsonb #>> '{{}}')::{0} > $2::{0}"
    ).format(sql.SQL(position.type))


def _equals(column: Column, n: int) -> sql.Composed:
    """The index finds equals; the text picks what is written exactly so."""
    return sql.SQL('t.{} = {} AND {} = ${}::text COLLATE "C"').format(
        column.identifier, _cast(column, n), column.text("t"), sql.Literal(n)
    )


def _beyond(order: Sequence[Column], n: int) -> sql.Composed:
    return sql.SQL("({}) > ({})").format(
        _comma([sql.Identifier("t", column.name) for column in order]),
        _comma([_cast(column, place) for place, column in enumerate(order, n)]),
    )


def _cast(column: Column, n: int) -> sql.Composed:
    return sql.SQL("${}::text::{}").format(sql.Literal(n), sql.SQL(column.type))


def _comma(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
