"""SQL that announces the parents of changed rows: they have to be sent again.

It looks at every row that changed, whether it meets the table's own `where` or not, and
says of the parent's key only that it was touched: `u`, without old values. A child that
moved names both parents. Many children of one parent are one key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bridge import fragments
from bridge.fragments import NEW, OLD

if TYPE_CHECKING:
    from bridge.fragments import Parts
    from bridge.tables import Parent, Table

CHILDREN = 10_000
"""Rows of one statement whose parents are looked for; they may well be few."""

# A parent that is NULL in part is no row. Equal payloads are sent once by themselves.
_PARENT = sql.SQL(
    """
        {say}CASE WHEN octet_length(e.entry) <= {size}
            THEN {head} || 'u","k":[' || e.entry || ']}}' ELSE {marker} || '}}' END{said}
        FROM ({one}) AS e
        WHERE e.entry IS NOT NULL{end};"""
)
_PARENTS = sql.SQL(
    """{count}
        IF touched = 1 THEN{single}
        ELSIF touched > {most} THEN{truncate}{compared}
        ELSIF touched > 0 THEN{several}
        END IF;"""
)
_COMPARED = sql.SQL("\n        ELSIF touched BETWEEN 1 AND {many} THEN{several}")
_SEVERAL = sql.SQL(
    """
            {say}CASE
                WHEN max(p.parents) <= {many} AND max(p.longest) <= {size}
                THEN {head} || 'u","k":[' || string_agg(p.entry, ',') || ']}}'
                ELSE {marker} || '}}' END{said}
            FROM (
                SELECT e.entry, count(*) OVER () AS parents,
                       max(octet_length(e.entry)) OVER () AS longest,
                       sum(octet_length(e.entry) + 1) OVER (ORDER BY e.entry COLLATE "C") / {page}
                           AS page
                FROM (SELECT DISTINCT d.entry FROM ({entries}) AS d WHERE d.entry IS NOT NULL) AS e
            ) AS p
            GROUP BY p.page{end};"""
)

_NEW_PARENTS = sql.SQL("SELECT {new} AS entry FROM {news} AS n")
_OLD_PARENTS = sql.SQL("SELECT {old} AS entry FROM {olds} AS o")
_BOTH_PARENTS = sql.SQL(
    """
                SELECT v.entry FROM {pairs}
                CROSS JOIN LATERAL (VALUES ({old}), ({new})) AS v(entry)
                WHERE {differs}"""
)
_PAIR = sql.SQL("{olds} AS o CROSS JOIN {news} AS n")
_PAIRS = sql.SQL("({olds} AS o FULL JOIN {news} AS n ON {same})")
_ANY_PARENTS = sql.SQL("{news} UNION ALL {olds}")


def announcement(table: Table, parent: Parent, channel: str) -> Parts:
    """By event: what the function does about the table's parent."""
    voice = fragments.voice(parent.table, channel, durable=parent.durable, most=CHILDREN)
    pieces: Parts = fragments.comparison(table) | fragments.sources(table)
    pieces |= {"new": fragments.entry(parent.texts(NEW)), "old": fragments.entry(parent.texts(OLD))}
    new, old = _NEW_PARENTS.format(**pieces), _OLD_PARENTS.format(**pieces)
    pair = _BOTH_PARENTS.format(**pieces, pairs=_PAIR.format(**pieces))
    if table.trigger == "row":
        ones = {"insert": new, "update": pair, "delete": old}
        return voice | {event: _PARENT.format(**voice, one=one) for event, one in ones.items()}
    either = _ANY_PARENTS.format(news=new, olds=old)
    return voice | {
        "insert": _statement(voice, pieces["news"], new, new),
        "update": _statement(voice, pieces["news"], pair, either, _joined(table, pieces)),
        "delete": _statement(voice, pieces["olds"], old, old),
    }


def _statement(
    voice: Parts,
    rows: sql.Composable,
    one: sql.Composed,
    several: sql.Composed,
    joined: sql.Composed | None = None,
) -> sql.Composed:
    """For one row, for as many as are worth comparing (`joined`), and for more than that."""
    compared = _SEVERAL.format(**voice, entries=joined) if joined else None
    return _PARENTS.format(
        **voice,
        count=fragments.count(rows, voice),
        single=_PARENT.format(**voice, one=one),
        compared=_COMPARED.format(**voice, several=compared) if compared else sql.SQL(""),
        several=_SEVERAL.format(**voice, entries=several),
    )


def _joined(table: Table, pieces: Parts) -> sql.Composed | None:
    """Old and new rows side by side; None where nothing tells which belong together."""
    if not table.key:
        return None
    differs = sql.SQL("({added} OR {removed} OR {differs})").format(**pieces)
    return _BOTH_PARENTS.format(**pieces | {"pairs": _PAIRS.format(**pieces), "differs": differs})
