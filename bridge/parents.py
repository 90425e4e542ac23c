"""Which row of another table a row belongs to, so that the other can be sent again.

Pure. `refreshes` follows the single foreign key to the other table's key; where there is
none or more than one, the config has to say it, and the complaint shows what to write.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from bridge.tables import Parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.config import TableConfig
    from bridge.tables import Column, Relation, Table

    Complain: TypeAlias = Callable[..., None]
    Way: TypeAlias = dict[str, str]
    """Key column of the parent → own column."""


def parent_of(
    entry: TableConfig, relation: Relation, target: Table, complain: Complain
) -> Parent | None:
    """How a row of `relation` leads to one of `target`.

    None after a complaint: a message, and the path of it below the entry.
    """
    if entry.through is None:
        way = _by_foreign_key(relation, target, complain)
    else:
        way = _as_written(entry.through, relation, target, complain)
    if way is None:
        return None
    columns = [relation.column(way[column.name]) for column in target.key]
    return Parent(target.name, tuple(filter(None, columns)), target.key, target.durable)


def _by_foreign_key(relation: Relation, target: Table, complain: Complain) -> Way | None:
    names = {column.name for column in target.key}
    ways: list[Way] = []
    for key in relation.foreign_keys:
        way = dict(zip(key.target_columns, key.columns, strict=True))
        if key.target == target.oid and way.keys() == names and way not in ways:
            ways.append(way)
    if len(ways) == 1:
        return ways[0]
    wanted = f"the key of {target.name!r}, ({', '.join(column.name for column in target.key)})"
    if ways:
        choice = " or ".join(_through(way) for way in ways)
        complain(
            f"{relation.shown} has several foreign keys to {wanted}; say {choice}", "refreshes"
        )
    else:
        own = "own_column" if len(target.key) == 1 else "own_{}"
        remedy = _through({column.name: own.format(column.name) for column in target.key})
        complain(f"{relation.shown} has no foreign key to {wanted}; say {remedy}", "refreshes")
    return None


def _through(way: Mapping[str, str]) -> str:
    """As the config has it."""
    return f"through: {{{', '.join(f'{own}: {key}' for key, own in way.items())}}}"


def _as_written(
    through: Mapping[str, str], relation: Relation, target: Table, complain: Complain
) -> Way | None:
    keys = [column.name for column in target.key]
    found = [_usable(own, relation, complain) for own in through]
    for own, key in through.items():
        if key not in keys:
            close = get_close_matches(key, keys, n=1) or keys
            meant = f"did you mean {close[0]}?"
            complain(f"{key!r} is not in the key of {target.name!r} ({meant})", "through", own)
    if missing := [key for key in keys if key not in through.values()]:
        complain(f"lacks {', '.join(missing)} of the key of {target.name!r}", "through")
    if missing or not all(found) or len(keys) != len(through):
        return None
    return {key: own for own, key in through.items()}


def _usable(name: str, relation: Relation, complain: Complain) -> Column | None:
    column = relation.column(name)
    if column is None:
        complain(relation.unknown(name), "through", name)
    elif column.virtual:
        complain(f"{name!r} {VIRTUAL}", "through", name)
        return None
    return column


VIRTUAL = "is computed on reading, so its value before a change is unknown; use a stored column"


def needed(entries: Sequence[TableConfig]) -> set[str]:
    """The public names of tables whose rows must be told apart: served, or refreshed by another."""
    return {entry.name for entry in entries if entry.served} | {
        entry.refreshes for entry in entries if entry.refreshes
    }
