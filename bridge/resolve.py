"""Config and catalog → tables, or everything that does not fit, each with its place and remedy.

Pure: the catalog comes as values. Names are compared exactly, as PostgreSQL does it
with quoted ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from bridge import audit
from bridge.errors import CatalogError, Problem
from bridge.parents import VIRTUAL, needed, parent_of
from bridge.tables import Table
from bridge.topics import Template, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.config import Config, TableConfig
    from bridge.tables import Column, Name, Relation


def resolve(
    config: Config,
    relations: Mapping[Name, Relation | None],
    names: Iterable[tuple[str, str]] = (),
) -> dict[str, Table]:
    """The config's tables by public name, joined with the catalog's `relations`.

    `names` are all (schema, relation) of the database, for suggestions.
    Raises `CatalogError` with everything that does not fit.
    """
    known = tuple(names)
    problems: list[Problem] = []
    joins: list[_Join] = []
    keyed = needed(tuple(config.tables.values()))
    for entry in config.tables.values():
        relation = relations.get(entry.table)
        at = ("tables", entry.name, "table")
        if complaint := _unwatchable(entry.table, relation, known):
            problems.append(config.problem(complaint, *at))
        elif relation and relation.foreign_children and entry.trigger == "statement":
            problems.append(config.problem(f"{relation.shown} {_MIXED}", *at))
        elif relation:
            document = relations.get(entry.document) if entry.document else relation
            joins.append(_Join(config, entry, relation, document, known, entry.name in keyed))
    alone = {join.entry.name: join.table() for join in joins}
    tables = {join.entry.name: join.related(alone) for join in joins}
    problems += [problem for join in joins for problem in join.problems]
    problems += _ambiguous(config, tables.values())
    if problems:
        raise CatalogError(problems)
    return tables


_REFUSED = {
    "v": "is a view, and only tables tell what changed; watch the tables that it reads",
    "m": "is a materialized view, whose refresh fires no trigger; watch the tables that it reads",
    "f": "is a foreign table, whose rows change elsewhere; run the bridge on that database",
}


_MIXED = (
    "has a foreign table among its children, of whose rows PostgreSQL can tell no statement"
    " trigger: writes would fail; use `trigger: row`"
)


def _unwatchable(
    wanted: Name, relation: Relation | None, names: Sequence[tuple[str, str]]
) -> str | None:
    """Why this relation cannot be watched, and what can; None if it can."""
    if relation is None:
        return _missing(wanted, names)
    shown = relation.shown
    if relation.kind in _REFUSED:
        return f"{shown} {_REFUSED[relation.kind]}"
    if relation.is_partition:
        return (
            f"{shown} is a partition, and writes to its parent pass it by; watch the parent,"
            " with `trigger: row` where partitions are written directly"
        )
    if relation.schema in ("pg_catalog", "information_schema"):
        return f"{shown} is PostgreSQL's own; only tables of users can have triggers"
    return None


def _missing(wanted: Name, names: Sequence[tuple[str, str]], what: str = "table") -> str:
    schema, name = wanted
    where = f"in the schema {schema!r}" if schema else "on the search path"
    elsewhere = [f"{place}.{relation}" for place, relation in names if relation == name]
    here = [relation for place, relation in names if schema in (None, place)]
    close = get_close_matches(name, here, n=1)
    return f"there is no {what} {name!r} {where}{_meant(elsewhere or close)}"


def _meant(names: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(names)}?)" if names else ""


@dataclass
class _Join:
    """One table of the config on its relation; `problems` fill while it is put together.

    `document` is what its state is read from, the relation itself as a rule; `keyed` says
    whether its rows must be told apart. `names` are for suggestions.
    """

    config: Config
    entry: TableConfig
    relation: Relation
    document: Relation | None
    names: Sequence[tuple[str, str]]
    keyed: bool
    problems: list[Problem] = field(default_factory=list)

    def table(self) -> Table:
        """The table without its parent, for which all tables have to be known."""
        key = self._key()
        sent = self._columns(key) if self.entry.served else ()
        templates = self._templates(key)
        fields = dict.fromkeys(name for template in templates for name in template.columns)
        routing = [name for name in fields if name not in {column.name for column in key}]
        return Table(
            name=self.entry.name,
            schema=self.relation.schema,
            relation=self.relation.name,
            oid=self.relation.oid,
            key=key,
            columns=sent,
            templates=templates,
            routing=tuple(filter(None, map(self.relation.column, routing))),
            debounce=self.entry.debounce,
            max_wait=self.entry.max_wait,
            leading=self.entry.leading,
            document=self._document(),
            where=self.entry.where,
            operations=frozenset(self.entry.operations),
            changed=self._changed(),
            trigger=self.entry.trigger,
            position=self._position(key),
            durable=self._durable(self.entry),
            sent=sent if self.entry.exclude else None,
            audit=audit.wanted(self.entry, self.relation, self._complain),
        )

    def related(self, tables: Mapping[str, Table]) -> Table:
        """The table with its parent, where that is known and has a key."""
        table = tables[self.entry.name]
        target = tables.get(self.entry.refreshes or "")
        if target is None or not target.key:
            return table
        return replace(table, parent=parent_of(self.entry, self.relation, target, self._complain))

    def _durable(self, entry: TableConfig) -> bool:
        """A table that leads to a durable one is one itself: its changes are part of that's."""
        target = self.config.tables.get(entry.refreshes or "")
        if target is not None and self._durable(target):
            return True
        return entry.durable and entry.mode == "state"

    def _complain(self, message: str, *path: str | int) -> None:
        self.problems.append(self.config.problem(message, "tables", self.entry.name, *path))

    def _find(self, name: str, *path: str | int, stored: bool = False) -> Column | None:
        """The column of that name; without one, a problem at `path`."""
        column = self.relation.column(name)
        if column is None:
            self._complain(self.relation.unknown(name), *path)
        elif stored and column.virtual:
            self._complain(f"{name!r} {VIRTUAL}", *path)
        return column

    def _key(self) -> tuple[Column, ...]:
        wanted = self.entry.key
        if wanted is None:
            return self._primary_key()
        found = [self._find(name, "key", place) for place, name in enumerate(wanted)]
        columns = tuple(column for column in found if column)
        if len(columns) == len(wanted) and not self._identifies(wanted):
            self._complain(
                f"({', '.join(wanted)}) does not identify a row: that takes a primary key, or a"
                " unique constraint over columns that are all NOT NULL" + self._candidates(),
                "key",
            )
        return columns

    def _primary_key(self) -> tuple[Column, ...]:
        if not self.relation.primary_key and self._identifies(self._ordering()):
            # Where nothing else tells the rows of a log apart, their positions do.
            return tuple(filter(None, map(self.relation.column, self._ordering())))
        if not self.relation.primary_key and self.keyed:
            remedy = "add one, or name unique, not-null columns in `key`"
            self._complain(
                f"{self.relation.shown} has no primary key (a deferrable one does not count);"
                f" {remedy}{self._candidates()}"
            )
        names = self.relation.primary_key or ()
        return tuple(filter(None, map(self.relation.column, names)))

    def _ordering(self) -> tuple[str, ...]:
        return () if self.entry.position is None else (self.entry.position,)

    def _position(self, key: Sequence[Column]) -> Column | None:
        """What orders the rows of a log table; None for any other."""
        if self.entry.mode != "log":
            return None
        if self.entry.position is None:
            if len(key) > 1:
                names = ", ".join(column.name for column in key)
                self._complain(f"the key is ({names}); say in `position` which column orders rows")
            return key[0] if key else None
        column = self._find(self.entry.position, "position", stored=True)
        if column is not None and not column.not_null:
            message = (
                f"{column.name!r} may be NULL, which has no place in an order; make it NOT NULL"
            )
            self._complain(message, "position")
        return column

    def _identifies(self, names: Sequence[str]) -> bool:
        return any(set(names) == set(unique) for unique in self.relation.unique)

    def _candidates(self) -> str:
        return _meant([f"[{', '.join(unique)}]" for unique in self.relation.unique])

    def _columns(self, key: Sequence[Column]) -> tuple[str, ...]:
        """What is sent: columns of the document."""
        if self.document is None:
            self._complain(
                _missing(self.entry.document or (None, ""), self.names, "table or view"), "document"
            )
            return ()
        if lacking := [column.name for column in key if not self.document.column(column.name)]:
            self._complain(
                f"{self.document.shown} has no column {', '.join(map(repr, lacking))}; a document"
                f" has the key of {self.relation.shown} under the same names",
                "document",
            )
        return self._sent(self.document)

    def _sent(self, document: Relation) -> tuple[str, ...]:
        named = (("columns", self.entry.columns or ()), ("exclude", self.entry.exclude))
        for option, names in named:
            for place, name in enumerate(names):
                if document.column(name) is None:
                    self._complain(document.unknown(name), option, place)
        every = [column.name for column in document.columns]
        wanted = set(every if self.entry.columns is None else self.entry.columns)
        left = tuple(name for name in every if name in wanted - set(self.entry.exclude))
        if not left and self.entry.exclude:
            self._complain("leaves no column to send; exclude fewer", "exclude")
        return left

    def _document(self) -> tuple[str, str] | None:
        if self.entry.document is None or self.document is None:
            return None
        return self.document.schema, self.document.name

    def _changed(self) -> tuple[str, ...] | None:
        for place, name in enumerate(self.entry.changed or ()):
            self._find(name, "changed", place, stored=True)
        return self.entry.changed

    def _templates(self, key: Sequence[Column]) -> tuple[Template, ...]:
        if not self.entry.served:
            return ()
        if self.entry.topics is None:
            return _default(self.entry.name, [column.name for column in key])
        for place, template in enumerate(self.entry.topics):
            for name in template.columns:
                self._find(name, "topics", place, stored=True)
        return self.entry.topics


def _default(name: str, key: Sequence[str]) -> tuple[Template, ...]:
    """`orders` and `orders/{id}`, made of parts: a column may have a name no template can hold."""
    whole = Template(name, (encode(name),), ())
    text = "/".join([name, *(f"{{{column}}}" for column in key)])
    return whole, Template(text, (encode(name), *[None] * len(key)), tuple(key))


def _ambiguous(config: Config, tables: Iterable[Table]) -> Iterator[Problem]:
    """Defaults included, which the config alone cannot compare: two templates, one shape."""
    seen: dict[tuple[str | None, ...], str] = {}
    for table in tables:
        for place, template in enumerate(table.templates):
            other = seen.setdefault(template.shape, table.name)
            if other != table.name:
                yield config.problem(
                    f"the topic {template.text!r} cannot be told from one of {other!r};"
                    " change a literal segment of one",
                    *("tables", table.name, "topics", place),
                )
