"""SQL of capture's first attempt: as if the statement had changed one row, as most do.

It leaves in the variable `said` the payload that this is worth, '' if it is worth none, and NULL
where the general way has to look: at more rows than one, at a key that is another now, at an entry
that is too long or, for there is a NULL in its key, none. STRICT raises where there is not just one
row; whatever else is wrong shows again in the general way.

PL/pgSQL sets up each statement and each expression anew in every transaction, and that is most of
what a trigger takes. So there are as few of them here as can be, and the event that is the
most frequent is asked for first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bridge import fragments

if TYPE_CHECKING:
    from bridge.fragments import Parts
    from bridge.tables import Table

_ATTEMPT = sql.SQL(
    """
    BEGIN
        IF TG_OP = 'UPDATE' THEN{update}
        ELSIF TG_OP = 'INSERT' THEN{insert}
        ELSIF TG_OP = 'DELETE' THEN{delete}
        END IF;{said}
    EXCEPTION WHEN OTHERS THEN
        said := NULL;
    END;"""
)
_STATEMENT = sql.SQL("\n            SELECT {payload} INTO STRICT said FROM {rows};")
_ROW = sql.SQL("\n            said := {payload};")
_PAYLOAD = sql.SQL("CASE{unless} WHEN {fits} THEN {opening} || {entry} || ']}}' END")
_UNLESS = sql.SQL(" WHEN ({same}) IS NOT TRUE THEN NULL WHEN NOT ({differs}) THEN ''")
_NOTHING = sql.SQL(" WHEN ({wanted}) IS NOT TRUE THEN ''")


def attempt(
    table: Table,
    pieces: Parts,
    wanted: sql.Composable | None = None,
    said: sql.Composable | None = None,
) -> sql.Composed:
    """The guarded block. `wanted` is SQL for whether anything is to be said at all, and `said` what
    is done under the guard with what is to be said."""
    unless = _NOTHING.format(wanted=wanted) if wanted else sql.SQL("")
    openings = fragments.openings(table.name)
    branches = {
        "insert": ("new", unless, "{news} AS n"),
        "update": ("changed", unless + _UNLESS.format(**pieces), "{olds} AS o, {news} AS n"),
        "delete": ("old", unless, "{olds} AS o"),
    }
    return _ATTEMPT.format(
        said=said or sql.SQL(""),
        **{
            event: _one(table, pieces, _payload(table, pieces[entry], openings[event], when), rows)
            for event, (entry, when, rows) in branches.items()
        },
    )


def _one(table: Table, pieces: Parts, payload: sql.Composed, rows: str) -> sql.Composed:
    if table.trigger == "row":
        return _ROW.format(payload=payload)
    return _STATEMENT.format(payload=payload, rows=sql.SQL(rows).format(**pieces))


def _payload(
    table: Table, entry: sql.Composable, opening: sql.Composable, unless: sql.Composable
) -> sql.Composed:
    size = sql.Literal(fragments.ENTRY)
    fits: sql.Composable = sql.SQL("octet_length({}) <= {}").format(entry, size)
    if fragments.short(table.key + table.routing):
        fits = sql.SQL("true")
    return _PAYLOAD.format(unless=unless, fits=fits, opening=opening, entry=entry)
