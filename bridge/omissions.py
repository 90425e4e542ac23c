"""What a first config leaves out, as comments with the reason. Pure."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.tables import Relation

_WIDTH = 96

_KEYLESS = (
    "without a primary key or a unique, not-null set of columns, so that rows cannot be told"
    " apart (add one)"
)
_UNSEEN = {
    "v": "views, which tell nobody what changed (one with a table's key can be its `document`)",
    "m": "materialized views, whose refresh fires no trigger (watch the tables that they read)",
    "f": "foreign tables, whose rows change elsewhere (run a bridge on that database)",
}


def left_out(keyless: Iterable[Relation], views: Iterable[Relation]) -> str:
    """Lines for the end of the file; nothing where nothing is left out."""
    why = {relation.shown: _KEYLESS for relation in keyless}
    why |= {view.shown: _UNSEEN[view.kind] for view in views}
    reasons: dict[str, list[str]] = {}
    for name, reason in why.items():
        reasons.setdefault(reason, []).append(name)
    blocks = [
        fill(
            f"{reason}: {', '.join(names)}",
            width=_WIDTH,
            initial_indent="# - ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for reason, names in reasons.items()
    ]
    return "\n".join(["", "# Left out:", *blocks, ""]) if blocks else ""
