"""A catalog → the text of a first config, with a comment wherever a choice was made. Pure.

What comes out loads and works as it is. What it left out it names, with the reason,
so that nobody has to find out why a table is silent.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from bridge.topics import Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.tables import ForeignKey, Relation

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Words that YAML reads as something other than a string.
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_PUBLIC = re.compile(r"[^\w.\-]+")

_HEAD = """\
# Written by `rowcast init` from the tables of {database}.
# Every option is explained in config.example.yaml and docs/configuration.md.
#
# What a frontend may follow is a topic; `{{column}}` stands for a row's value. Check the
# columns: without `columns:` or `exclude:` every column of a table is sent.

database: ${{DATABASE_URL}}

tables:
"""


class _Entry(NamedTuple):
    name: str
    relation: Relation


def draft(
    database: str, relations: Sequence[Relation], rows: Mapping[int, int], *, limit: int = 10_000
) -> str:
    """The config's text.

    `rows` are estimates by oid; a table of more than `limit` rows gets no topic of all of
    them, whose snapshot would be refused.
    """
    keyed = [relation for relation in relations if _key(relation)]
    entries = {relation.oid: _Entry(name, relation) for name, relation in _named(keyed)}
    blocks = [
        "\n".join(_table(entry, entries, rows.get(oid, 0), limit)) for oid, entry in entries.items()
    ]
    tables = (
        "\n\n".join(blocks)
        if blocks
        else "  {}  # no table has a primary key or a unique, not-null set"
    )
    return _HEAD.format(database=database) + tables + "\n" + _left_out(relations)


def _key(relation: Relation) -> tuple[str, ...] | None:
    return relation.primary_key or next(iter(relation.unique), None)


def _named(relations: Sequence[Relation]) -> Iterator[tuple[str, Relation]]:
    """Public names: the table's own, with its schema where two would share one."""
    taken: set[str] = set()
    for relation in relations:
        name = _PUBLIC.sub("_", relation.name)[:63]
        if name in taken:
            name = _PUBLIC.sub("_", f"{relation.schema}.{relation.name}")[:63]
        while name in taken:
            name = name[:61] + f"_{len(taken) % 10}"
        taken.add(name)
        yield name, relation


def _table(entry: _Entry, entries: Mapping[int, _Entry], rows: int, limit: int) -> Iterator[str]:
    name, relation = entry
    key = _key(relation) or ()
    yield f"  {_scalar(name)}:"
    if relation.schema != "public" or relation.name != name:
        yield f"    table: [{_scalar(relation.schema)}, {_scalar(relation.name)}]"
    if relation.primary_key is None:
        yield f"    key: [{_list(key)}]    # no primary key: the first unique, not-null set"
    if rows > limit:
        yield f"    # About {rows:,} rows: too many for one topic of them all."
    topics = list(_topics(entry, key, entries, whole=rows <= limit))
    if parent := _owner(entry, entries):
        yield f"    refreshes: {_scalar(parent)}    # a part of it: its key holds that one's"
        yield f"    # topics: [{_list(topics)}]    # to serve it by itself as well"
        return
    if all(map(_fits, key)):
        yield f"    topics: [{_list(topics)}]"
    yield f"    # columns: [{_list([column.name for column in relation.columns])}]"
    yield from _guesses(entry, entries)


def _owner(entry: _Entry, entries: Mapping[int, _Entry]) -> str | None:
    """The one table this one is a part of: its key is that table's, and something more.

    Where two keys make up this one's, it joins two tables and belongs to neither.
    """
    key = set(_key(entry.relation) or ())
    within = [
        reference for reference in entry.relation.foreign_keys if key & set(reference.columns)
    ]
    if len(within) != 1 or not set(within[0].columns) < key:
        return None
    return _parent(entry, within[0], entries)


def _parent(entry: _Entry, reference: ForeignKey, entries: Mapping[int, _Entry]) -> str | None:
    """The public name of the table a foreign key leads to, if it leads to its key."""
    target = entries.get(reference.target)
    if target is None or target.relation.oid == entry.relation.oid:
        return None
    leads = set(reference.target_columns) == set(_key(target.relation) or ())
    return target.name if leads else None


def _guesses(entry: _Entry, entries: Mapping[int, _Entry]) -> Iterator[str]:
    """Tables whose rows may be shown together with this one's: only the operator knows."""
    references = [(r, _parent(entry, r, entries)) for r in entry.relation.foreign_keys]
    for reference, parent in references:
        if parent is None:
            continue
        yield f"    # refreshes: {_scalar(parent)}    # if a change here shall send that row again"
        if [target for _, target in references].count(parent) > 1:
            pairs = zip(reference.columns, reference.target_columns, strict=True)
            through = ", ".join(f"{_scalar(own)}: {_scalar(its)}" for own, its in pairs)
            yield f"    # through: {{{through}}}"


def _topics(
    entry: _Entry, key: Sequence[str], entries: Mapping[int, _Entry], *, whole: bool
) -> Iterator[str]:
    name, relation = entry
    if whole:
        yield name
    yield "/".join([name, *(f"{{{column}}}" for column in key)])
    shapes = set()
    for reference in relation.foreign_keys:
        topic = _topic_of_parent(name, reference, entries)
        if topic and (shape := Template.parse(topic).segments) not in shapes:
            shapes.add(shape)
            yield topic


def _topic_of_parent(name: str, reference: ForeignKey, entries: Mapping[int, _Entry]) -> str | None:
    """`customers/{customer_id}/orders`: the rows that belong to one row of another table."""
    parent = entries.get(reference.target)
    columns = reference.columns
    if parent is None or not all(map(_fits, columns)):
        return None
    return "/".join([parent.name, *(f"{{{column}}}" for column in columns), name])


def _fits(column: str) -> bool:
    """Whether a template can name this column; the default topics need no template's text."""
    return not set(column) & set("{}/")


def _left_out(relations: Sequence[Relation]) -> str:
    lines = [
        f"#   {relation.schema}.{relation.name}: no primary key and no unique set of not-null"
        " columns, so its rows cannot be told apart. Add one, or name such a set as `key`."
        for relation in relations
        if not _key(relation)
    ]
    return "\n".join(["", "# Left out:", *lines, ""]) if lines else ""


def _list(names: Sequence[str] | Iterator[str]) -> str:
    return ", ".join(_scalar(name) for name in names)


def _scalar(text: str) -> str:
    """A string as YAML reads it back: JSON's spelling, unless it is plainly harmless."""
    plain = _PLAIN.fullmatch(text) and text not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
