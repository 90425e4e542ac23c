"""A catalog → the text of a first config, with a comment wherever a choice was made. Pure.

What comes out loads and works as it is. What it left out it names, with the reason,
so that nobody has to find out why a table is silent.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from bridge.omissions import left_out
from bridge.topics import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.tables import Column, ForeignKey, Relation

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Words that YAML reads as something other than a string.
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_PUBLIC = re.compile(r"[^\w.\-]+")

_SECRET = re.compile(
    r"pass(word|wd|phrase|code)|secret|token|salt$|(api|private|access)_?key", re.IGNORECASE
)
_WIDTH = 96

_HEAD = """\
# Written by `rowcast init` from the tables of {database}.
# Every option is explained in config.example.yaml and docs/configuration.md.
#
# What a frontend may follow is a topic; `{{column}}` stands for a row's value. Check the
# columns: without `columns:` or `exclude:` every column of a table is sent.

database: ${{DATABASE_URL}}

server:
  # The page at / shows topics, and what the bridge does. Who may connect may open it.
  inspector: true
  # The other web pages that may connect. Put yours here.
  allowed_origins: ["http://localhost:8000", "http://127.0.0.1:8000"]

tables:
"""


class _Entry(NamedTuple):
    name: str
    relation: Relation
    rows: int


class _Link(NamedTuple):
    """A foreign key of an entry to one of the file."""

    reference: ForeignKey
    parent: _Entry


def draft(
    database: str,
    relations: Sequence[Relation],
    rows: Mapping[int, int],
    *,
    views: Sequence[Relation] = (),
    limit: int = 10_000,
) -> str:
    """The config's text.

    `rows` are estimates by oid; a topic that would hold more than `limit` of them is left
    out, since its snapshot would be refused. `views` are named among what is left out.
    """
    keyed = [relation for relation in relations if _key(relation)]
    keyless = [relation for relation in relations if not _key(relation)]
    named = (_Entry(name, one, rows.get(one.oid, 0)) for name, one in _named(keyed))
    entries = {entry.relation.oid: entry for entry in named}
    blocks = ["\n".join(_table(entry, entries, limit)) for entry in _ordered(entries)]
    tables = (
        "\n\n".join(blocks)
        if blocks
        else "  {}  # no table has a primary key or a unique, not-null set"
    )
    return _HEAD.format(database=database) + tables + "\n" + left_out(keyless, views)


def _key(relation: Relation) -> tuple[str, ...]:
    return relation.primary_key or next(iter(relation.unique), ())


def _named(relations: Sequence[Relation]) -> Iterator[tuple[str, Relation]]:
    """Public names: the table's own, with its schema where two would share one."""
    taken: set[str] = set()
    for relation in sorted(relations, key=lambda one: one.schema != "public"):
        name = _PUBLIC.sub("_", relation.name)[:63]
        if name in taken:
            name = _PUBLIC.sub("_", f"{relation.schema}.{relation.name}")[:63]
        while name in taken:
            name = name[:61] + f"_{len(taken) % 10}"
        taken.add(name)
        yield name, relation


def _ordered(entries: Mapping[int, _Entry]) -> Iterator[_Entry]:
    """Each table before those that belong to it, so that what is related is read together."""
    below: dict[int | None, list[_Entry]] = {}
    for entry in entries.values():
        home = _home(entry, entries)
        below.setdefault(home and home.relation.oid, []).append(entry)
    done: set[int] = set()
    # After the tables that refer to none come those that refer to each other in a circle.
    waiting = [*below.get(None, ()), *entries.values()][::-1]
    while waiting:
        entry = waiting.pop()
        if entry.relation.oid not in done:
            done.add(entry.relation.oid)
            yield entry
            waiting += below.get(entry.relation.oid, ())[::-1]


def _home(entry: _Entry, entries: Mapping[int, _Entry]) -> _Entry | None:
    """The table to print this one below: what it is part of or named after, or refers to first."""
    parents = [link.parent for link in _links(entry, entries) if link.parent != entry]
    named = [parent for parent in parents if entry.name.lower().startswith(parent.name.lower())]
    return _owner(entry, entries) or next(iter(named + parents), None)


def _links(entry: _Entry, entries: Mapping[int, _Entry]) -> list[_Link]:
    """In the order of the columns; where two lead to one table, the one that is named like it."""
    order = {column.name: place for place, column in enumerate(entry.relation.columns)}
    found = sorted(
        entry.relation.foreign_keys,
        key=lambda one: (one.columns != one.target_columns, [order[c] for c in one.columns]),
    )
    return [_Link(one, entries[one.target]) for one in found if one.target in entries]


def _table(entry: _Entry, entries: Mapping[int, _Entry], limit: int) -> Iterator[str]:
    name, relation, rows = entry
    key = _key(relation)
    yield f"  {_scalar(name)}:"
    if relation.schema != "public" or relation.name != name:
        yield f"    table: [{_scalar(relation.schema)}, {_scalar(relation.name)}]"
    if relation.primary_key is None:
        yield f"    key: [{_list(key)}]    # no primary key: the first unique, not-null set"
    yield from _trigger(relation)
    if rows > limit:
        yield f"    # More than {limit:,} rows, which one snapshot may have: no topic of them all."
    if all(map(_fits, key)):
        yield from _flow("    ", "topics", list(_topics(entry, entries, limit)))
    yield from _columns(entry, entries)
    yield from _refreshes(entry, entries)


def _trigger(relation: Relation) -> Iterator[str]:
    if any(reference.direct for reference in relation.foreign_keys):
        yield "    trigger: row    # foreign keys of single partitions write to these directly"
    elif relation.foreign_children:
        yield "    trigger: row    # some of its rows are in a foreign table"
    elif relation.kind == "p":
        yield "    # trigger: row    # if partitions are written directly, or by replication"


def _columns(entry: _Entry, entries: Mapping[int, _Entry]) -> Iterator[str]:
    """What is sent: all but what somebody should decide on first."""
    links = _links(entry, entries)
    used = {column for link in links for column in link.reference.columns}
    used |= set(_key(entry.relation))
    columns = entry.relation.columns
    left = {c.name: why for c in columns if c.name not in used and (why := _private(c))}
    if left:
        reasons = "; ".join(f"{name} {why}" for name, why in left.items())
        yield f"    exclude: [{_list(left)}]    # {reasons}"
    names = [column.name for column in columns if column.name not in left]
    note = "    # in place of exclude" if left else ""
    yield from _flow("    # ", "columns", names, note)


def _private(column: Column) -> str | None:
    if _SECRET.search(column.name):
        return "sounds like a secret"
    return "is only for searching" if column.base == "tsvector" and column.builtin else None


def _owner(entry: _Entry, entries: Mapping[int, _Entry]) -> _Entry | None:
    """The one table this one is a part of: its key is that table's, and something more.

    Where two keys make up this one's, it joins two tables and belongs to neither.
    """
    key = set(_key(entry.relation))
    within = [
        reference for reference in entry.relation.foreign_keys if key & set(reference.columns)
    ]
    if len(within) != 1 or not set(within[0].columns) < key:
        return None
    parent = entries.get(within[0].target)
    return parent if parent and _leads(_Link(within[0], parent), entry) else None


def _leads(link: _Link, entry: _Entry) -> bool:
    """Whether it leads to the key of another table, as `refreshes` wants it."""
    target = set(link.reference.target_columns)
    return link.parent != entry and target == set(_key(link.parent.relation))


def _refreshes(entry: _Entry, entries: Mapping[int, _Entry]) -> Iterator[str]:
    """Whose rows may be shown together with this one's: only the operator knows."""
    links = [link for link in _links(entry, entries) if _leads(link, entry)]
    if owner := _owner(entry, entries):
        yield f"    refreshes: {_scalar(owner.name)}    # a part of it: its key holds that one's"
        links = [link for link in links if link.parent == owner]
    elif links:
        name, *others = dict.fromkeys(_scalar(link.parent.name) for link in links)
        choice = f"or {', '.join(others)}; " if others else ""
        yield f"    # refreshes: {name}    # {choice}if its `document` shows these rows"
    for link in links:
        if [one.parent for one in links].count(link.parent) > 1:
            pairs = zip(link.reference.columns, link.reference.target_columns, strict=True)
            through = ", ".join(f"{_scalar(own)}: {_scalar(its)}" for own, its in pairs)
            yield f"    # through: {{{through}}}    # to {_scalar(link.parent.name)}"


def _topics(entry: _Entry, entries: Mapping[int, _Entry], limit: int) -> Iterator[str]:
    name, relation, rows = entry
    if rows <= limit:
        yield name
    yield "/".join([name, *(f"{{{column}}}" for column in _key(relation))])
    shapes = set()
    for link in _links(entry, entries):
        if not all(map(_fits, link.reference.columns)) or rows > limit * max(link.parent.rows, 1):
            continue
        topic = _topic_of_parent(name, link)
        if Template.parse(topic).shape in shapes:
            topic = _told_apart(topic, link.reference.columns)
        shapes.add(Template.parse(topic).shape)
        yield topic


def _topic_of_parent(name: str, link: _Link) -> str:
    """`customers/{customer_id}/orders`: the rows that belong to one row of another table."""
    return "/".join([link.parent.name, *(f"{{{one}}}" for one in link.reference.columns), name])


def _told_apart(topic: str, columns: Sequence[str]) -> str:
    """`airports/{origin}/flights` and then `airports/{destination}/flights.destination`."""
    return ".".join([topic, *(_PUBLIC.sub("_", column) for column in columns)])


def _fits(column: str) -> bool:
    """Whether a template can name this column; the default topics need no template's text."""
    return not set(column) & set("{}/")


def _flow(margin: str, name: str, items: Sequence[str], note: str = "") -> Iterator[str]:
    """`name: [item, item]`, on as many lines as it takes."""
    line = f"{margin}{name}: ["
    for place, item in enumerate(map(_scalar, items), start=1):
        text = item + (", " if place < len(items) else "]")
        if len(line) + len(text) > _WIDTH and place > 1:
            yield line.rstrip()
            line = f"{margin}  "
        line += text
    yield line + note


def _list(names: Iterable[str]) -> str:
    return ", ".join(_scalar(name) for name in names)


def _scalar(text: str) -> str:
    """A string as YAML reads it back: JSON's spelling, unless it is plainly harmless."""
    plain = _PLAIN.fullmatch(text) and text not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
