"""The SELECTs that read states, one of each kind for a table. Pure.

What PostgreSQL is asked is always the same: the version of the read and, joined to it,
what was asked for, so that even "nothing there" comes with a version. Keys and topic
values arrive as arrays of text, are cast to the column's type for the index to find
them, and are compared as text once more, for what is equal need not be spelled alike. The cast
is made behind an OFFSET, which the planner does not look through: where policies apply,
an index is used for a value, but not for an expression that could tell of hidden rows.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from psycopg import sql

from bridge.parameters import FREE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.tables import Column, Parent, Table
    from bridge.topics import Template

_VERSION = """
SELECT lpad(to_hex(e.epoch), 16, '0') || '.' || lpad(to_hex(
    pg_snapshot_xmax(s)::text::bigint - (SELECT count(*) FROM pg_snapshot_xip(s))), 16, '0')
    AS version, s::text AS moment
FROM {epoch} e, pg_current_snapshot() s
"""

# The JSON is made above the join: below it, PostgreSQL would make that of every row of a table
# so small that it reads it whole.
_LOAD = """
SELECT v.version, k.n, k.key, CASE WHEN {found} THEN ARRAY[{texts}] END AS texts,
       CASE WHEN {found} THEN {row} END AS row
FROM ({version}) v,
     LATERAL (SELECT {raw}, n, {casts},
                     (SELECT to_jsonb(r.*)::text FROM (SELECT {typed}) r) AS key
              FROM unnest({arrays}) WITH ORDINALITY AS u({raw}, n) OFFSET 0) k
LEFT JOIN {source} ON {match}
"""

_SNAPSHOT = """
SELECT v.version, k.n, k.spelling, t.key, t.row,
       CASE row_number() OVER () WHEN 1 THEN v.moment END
FROM ({version}) v,
     LATERAL (SELECT {raw}, n, {casts}, {spelling} AS spelling
              FROM unnest({arrays}) WITH ORDINALITY AS u({raw}, n) OFFSET 0) k
LEFT JOIN LATERAL (SELECT {key} AS key, {row} AS row FROM {source}
                   WHERE {match} LIMIT {limit}) t ON true
"""

_KEYS = """
SELECT v.version, t.texts FROM ({version}) v
LEFT JOIN (SELECT ARRAY[{texts}] AS texts
           FROM {source}, (SELECT {raw}, {casts} FROM unnest({arrays}) AS u({raw}) OFFSET 0) k
           WHERE {match} LIMIT {limit}) t ON true
"""

_AHEAD = """
SELECT json_agg(json_build_array(l.version, l.n, l.key, l.texts, l.row))::text FROM ({load}) l
"""

_TYPED = "SELECT {casts} FROM unnest({arrays}) AS u({raw})"

_PARENTS = """
SELECT DISTINCT {texts}
FROM {table} t, (SELECT {raw}, {casts} FROM unnest({arrays}) AS u({raw}) OFFSET 0) k
WHERE {match}
"""

_STANDING = """
SELECT ARRAY[{texts}]::text[],
       EXISTS (SELECT FROM {rows} t, {asked} k WHERE {match})
FROM {table} t, {asked} k WHERE {match}
"""


class Statements:
    """Composed and written out once each.

    `schema` is where the epoch lives, `limit` a snapshot's most rows, and `most` a row's most
    bytes as JSON: in place of a larger one comes NULL, so that it never leaves PostgreSQL. Of a
    log each row is sent, however large.
    """

    def __init__(self, schema: str, limit: int, most: int) -> None:
        self._version = sql.SQL(_VERSION).format(epoch=sql.Identifier(schema, "epoch"))
        self._limit = sql.Literal(limit + 1)
        self._most = sql.Literal(most)
        self.load = cache(lambda table: written(self._load(table)))
        self.ahead = cache(self._ahead)
        self.snapshot = cache(lambda *what: written(self._snapshot(*what)))
        self.keys = cache(lambda *what: written(self._keys(*what)))
        self.typed = cache(_typed)
        self.parents = cache(lambda *what: written(_parents(*what)))

    def _ahead(self, table: Table) -> sql.Composed:
        """The same as one JSON text, to be asked for in the statement of a changelog."""
        return written(sql.SQL(_AHEAD).format(load=self._load(table, FREE)))

    def _load(self, table: Table, first: int = 1) -> sql.Composed:
        """Keys → (version, n from 1, key JSON, texts, row) each; texts and row NULL if gone,
        row alone if it is too large."""
        return sql.SQL(_LOAD).format(
            version=self._version,
            raw=_raw(table.key),
            casts=_casts(table.key),
            arrays=_arrays(table.key, first),
            typed=_comma(
                sql.SQL("{} AS {}").format(_cast(n, column, "u"), column.identifier)
                for n, column in enumerate(table.key)
            ),
            found=sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", table.key[0].name)),
            texts=_texts(table),
            row=self._row(table),
            source=sql.SQL("({})").format(_source(table)) if table.document else _source(table),
            match=_match(table.key),
        )

    def _snapshot(self, table: Table, template: Template) -> sql.Composed:
        """Topics' values → (version, n from 1, right spelling, key JSON, row, moment) each; key and
        row NULL if there is none, row alone if it is too large.

        Only the first has the moment: where many transactions are open, it is long.
        """
        columns = _columns(table, template)
        return sql.SQL(_SNAPSHOT).format(
            version=self._version,
            raw=_raw(columns),
            casts=_casts(columns),
            arrays=_arrays(columns),
            spelling=sql.SQL("ARRAY[{}]::text[]").format(
                _comma(_spelling(n, column) for n, column in enumerate(columns))
            ),
            key=_key(table.key),
            row=self._row(table),
            source=_source(table),
            match=_match(columns),
            limit=self._limit,
        )

    def _keys(self, table: Table, template: Template) -> sql.Composed:
        """One topic's values → (version, key texts) for each row, which is not looked at."""
        columns = _columns(table, template)
        return sql.SQL(_KEYS).format(
            version=self._version,
            raw=_raw(columns),
            casts=_casts(columns),
            arrays=_arrays(columns),
            texts=_comma(column.text("t") for column in table.key),
            source=_source(table),
            match=_match(columns),
            limit=self._limit,
        )

    def _row(self, table: Table) -> sql.Composed:
        row = _row(table)
        if table.position is not None:
            return row
        # OFFSET keeps the planner from writing the JSON twice.
        return sql.SQL(
            "(SELECT CASE WHEN octet_length(j) <= {} THEN j END FROM (SELECT {} AS j OFFSET 0) o)"
        ).format(self._most, row)


def _typed(table: Table, template: Template) -> sql.Composed:
    """One topic's values as what they have to be, without a look at any row."""
    columns = _columns(table, template)
    return sql.SQL(_TYPED).format(casts=_casts(columns), arrays=_arrays(columns), raw=_raw(columns))


def written(statement: sql.Composed) -> sql.Composed:
    """Its parts put together, which psycopg would do for each execution."""
    return sql.Composed([sql.SQL(statement.as_string(None))])


def _parents(table: Table, parent: Parent) -> sql.Composed:
    """Keys → the keys of the rows that are to be refreshed with them."""
    return sql.SQL(_PARENTS).format(
        texts=_comma(parent.texts("t")),
        table=table.identifier,
        raw=_raw(table.key),
        casts=_casts(table.key),
        arrays=_arrays(table.key),
        match=_match(table.key),
    )


def standing(table: Table) -> sql.Composed:
    """One key → (texts of `Table.fields`, whether the row meets `where`); nothing if it is gone."""
    return sql.SQL(_STANDING).format(
        texts=_comma(column.text("t") for column in table.key + table.routing),
        rows=table.rows(),
        table=table.identifier,
        asked=sql.SQL("(SELECT {0}, {1} FROM unnest({2}) AS u({0}) OFFSET 0)").format(
            _raw(table.key), _casts(table.key), _arrays(table.key)
        ),
        match=_match(table.key),
    )


def _columns(table: Table, template: Template) -> list[Column]:
    known = {column.name: column for column in table.key + table.routing}
    return [known[name] for name in template.columns]


def _source(table: Table) -> sql.Composable:
    """What rows come from: the table, as `t`, and the document, as `d`, if there is one."""
    source = sql.SQL("{} t").format(table.rows())
    if table.document is None:
        return source
    joins = sql.SQL(" AND ").join(
        sql.SQL("d.{0} = t.{0}").format(column.identifier) for column in table.key
    )
    return sql.SQL("{} JOIN {} d ON {}").format(source, sql.Identifier(*table.document), joins)


def _comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _texts(table: Table) -> sql.Composed:
    texts = [column.text("t") for column in table.key + table.routing]
    if table.position is not None:
        texts.append(sql.SQL("to_jsonb({})::text").format(sql.Identifier("t", table.position.name)))
    return _comma(texts)


def _raw(columns: Sequence[Column]) -> sql.Composed:
    return _comma(sql.Identifier(f"k{n}") for n in range(max(1, len(columns))))


def _arrays(columns: Sequence[Column], first: int = 1) -> sql.Composed:
    """What is asked for, so that a plan does not depend on how much: else PostgreSQL finds a
    plan made for one key so much better than one for any number that it plans each read anew."""
    last = first + max(1, len(columns)) - 1
    return _comma(sql.SQL(f"(SELECT ${n}::text[])") for n in range(first, last + 1))


def _casts(columns: Sequence[Column]) -> sql.Composed:
    """The raw values as what they are, for `_match`."""
    typed = (
        sql.SQL("{} AS {}").format(_cast(n, column, "u"), sql.Identifier(f"c{n}"))
        for n, column in enumerate(columns)
    )
    return _comma(typed) if columns else _comma([sql.SQL("true AS c0")])


def _cast(n: int, column: Column, alias: str) -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Identifier(alias, f"k{n}"), sql.SQL(column.type))


def _spelling(n: int, column: Column) -> sql.Composed:
    """The text this value has when it comes from a row: what `Column.text` writes of its cast."""
    typed = sql.SQL("SELECT {} AS {}").format(_cast(n, column, "u"), column.identifier)
    return sql.SQL("(SELECT {} FROM ({}) s)").format(column.text("s"), typed)


def _match(columns: Sequence[Column]) -> sql.Composable:
    """The index finds equals; the text picks the one that is written exactly so.

    The collation says *exactly*: under a nondeterministic one, other spellings are equal.
    """
    if not columns:
        return sql.SQL("true")
    return sql.SQL(" AND ").join(
        sql.SQL('t.{} = {} AND {} = {} COLLATE "C"').format(
            column.identifier,
            sql.Identifier("k", f"c{n}"),
            column.text("t"),
            sql.Identifier("k", f"k{n}"),
        )
        for n, column in enumerate(columns)
    )


def _row(table: Table) -> sql.Composed:
    alias = "d" if table.document else "t"
    fields = _comma(sql.Identifier(alias, name) for name in table.columns)
    return sql.SQL("(SELECT to_jsonb(r.*)::text FROM (SELECT {}) r)").format(fields)


def _key(columns: Sequence[Column]) -> sql.Composed:
    """A row's key made of its text, as `_LOAD` makes it: a char(5) has blanks, its text none."""
    fields = _comma(
        sql.SQL("{}::{} AS {}").format(column.text("t"), sql.SQL(column.type), column.identifier)
        for column in columns
    )
    return sql.SQL("(SELECT to_jsonb(r.*)::text FROM (SELECT {}) r)").format(fields)
