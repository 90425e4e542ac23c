"""A random schema: tables, their config, and what every topic of them must hold. Pure.

Each watched table has the same columns after its key, and they are what the oracle needs:
`born` is unique to an INSERT, every UPDATE raises `counter`, and `grp` moves a row between
topics. A transaction that will be rolled back writes the note NEVER.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from random import Random

Row: TypeAlias = dict[str, Any]

NEVER = "never"
GROUPS = range(5)
PARTS = range(3)

BEACON = "beacon"
"""A topic of one row that everybody follows; its `n` tells how far a follower is."""

ENTRIES = "entries"
"""A log table: rows are only ever added."""

_ODD = ["", "/", "%", " é", '"', "😀", "\\", "?x=1", "#", "+", "'", "..", "%2F"]
_EXTRAS = {
    "numeric(12,2)": ["18.50", "-0.01", "NaN", "9999999999.99"],
    "timestamptz": ["2024-02-29 12:00+00", "infinity", "4000-01-01 BC"],
    "jsonb": ['{"a": [1, null, "\\u00e9"]}', "[]", '"text"', "1e400"],
    "text[]": ["{}", '{a,NULL,"b c"}'],
    "double precision": ["0.1", "-0", "1e-300"],
    "bigint": ["9223372036854775807", "0"],
    "bytea": ["\\x00ff", ""],
}


@dataclass(frozen=True)
class Topic:
    """`only` are the column values that every row of the topic has.

    `returning`: rows may leave and come back as they were, for a partition is detached.
    """

    name: str
    table: str
    only: Row
    returning: bool = False

    def admits(self, row: Row) -> bool:
        return all(row[column] == value for column, value in self.only.items())


@dataclass(frozen=True)
class Table:
    """`keys` are all keys that writers use; `source` is what the rows are read from."""

    name: str
    key: tuple[str, ...]
    keys: tuple[tuple[Any, ...], ...]
    ddl: str
    yaml: str
    extra: str
    where: str = "true"
    partitioned: bool = False
    child: str | None = None

    @property
    def source(self) -> str:
        return f"{self.name}_docs" if self.child else self.name

    @property
    def truth(self) -> str:
        return f"SELECT to_jsonb(r)::text FROM (SELECT * FROM {self.source} WHERE {self.where}) r"

    @property
    def extras(self) -> list[str]:
        return _EXTRAS[self.extra]

    def key_of(self, row: Row) -> str:
        return identity({name: row[name] for name in self.key})

    def whole(self) -> Topic:
        return Topic(self.name, self.name, {}, self.partitioned)

    def group(self, value: int) -> Topic:
        return Topic(f"groups/{value}/{self.name}", self.name, {"grp": value}, self.partitioned)

    def single(self, key: tuple[Any, ...]) -> Topic:
        segments = "/".join(quote(str(value), safe="-_.!~*'()") for value in key)
        only = dict(zip(self.key, key, strict=True))
        return Topic(f"{self.name}/{segments}", self.name, only, self.partitioned)


@dataclass(frozen=True)
class Schema:
    tables: list[Table]
    reconcile: str
    durable: bool
    ddl: str = field(init=False)
    config: str = field(init=False)

    def __post_init__(self) -> None:
        everything = [_OWN, "CREATE SEQUENCE births;", *(table.ddl for table in self.tables)]
        object.__setattr__(self, "ddl", "\n".join(everything))
        tables = "".join(table.yaml for table in self.tables)
        object.__setattr__(self, "config", _CONFIG.format(**self.options) + tables)

    @property
    def options(self) -> dict[str, str]:
        return {"reconcile": self.reconcile, "durable": str(self.durable).lower()}

    def topics(self, random: Random, *, whole: bool) -> list[Topic]:
        """What one follower follows."""
        beacon = Topic(BEACON, BEACON, {})
        if whole:
            return [beacon, *(table.whole() for table in self.tables)]
        groups = [table.group(random.choice(GROUPS)) for table in self.tables]
        singles = [
            table.single(key) for table in self.tables for key in random.sample(table.keys, 3)
        ]
        return [beacon, *groups, *singles]

    def log(self, random: Random, *, whole: bool) -> Topic:
        """The log topic of one follower."""
        if whole:
            return Topic(ENTRIES, ENTRIES, {})
        group = random.choice(GROUPS)
        return Topic(f"groups/{group}/{ENTRIES}", ENTRIES, {"grp": group})


_OWN = f"""
CREATE TABLE {BEACON} (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO {BEACON} VALUES (1, 0);
CREATE SEQUENCE numbers;
CREATE TABLE {ENTRIES} (
    id bigint PRIMARY KEY DEFAULT nextval('numbers'), grp int NOT NULL, note text
);
"""

_CONFIG = f"""\
database: ${{{{DATABASE_URL}}}}
debounce: 20ms
max_wait: 100ms
reconcile: {{reconcile}}
durable: {{durable}}
server: {{{{port: 0, drain: 2s}}}}
tables:
  {BEACON}: {{{{topics: [{BEACON}]}}}}
  {ENTRIES}: {{{{mode: log, topics: [{ENTRIES}, "groups/{{{{grp}}}}/{ENTRIES}"]}}}}
"""


def identity(key: Row) -> str:
    return json.dumps(key, sort_keys=True)


def draw(random: Random, *, blind: bool) -> Schema:
    """A schema of three tables. `blind`: it will meet faults that only `reconcile` can find."""
    kinds = random.sample([_plain, _texts, _pair, _parent], 2)
    tables = [kind(random, f"t{n}") for n, kind in enumerate([*kinds, _partitioned])]
    durable = random.random() < 0.5
    return Schema(tables, reconcile="3s" if blind else "0s", durable=durable)


def _plain(random: Random, name: str) -> Table:
    kind = random.choice(["int", "bigint"])
    where = random.choice(["true", "grp IS DISTINCT FROM 3"])
    keys = tuple((n,) for n in range(1, 61))
    return _table(random, name, {"id": kind}, keys, where=where)


def _texts(random: Random, name: str) -> Table:
    keys = tuple((f"{n}{random.choice(_ODD)}",) for n in range(40))
    return _table(random, name, {"id": "text"}, keys)


def _pair(random: Random, name: str) -> Table:
    keys = tuple((region, n) for region in ("eu", "a/b") for n in range(20))
    return _table(random, name, {"region": "text", "id": "int"}, keys)


def _parent(random: Random, name: str) -> Table:
    """A parent whose document holds its children, which refresh it."""
    keys = tuple((n,) for n in range(1, 31))
    table = _table(random, name, {"id": "int"}, keys, options=[f"document: {name}_docs"])
    child = f"{name}_lines"
    ddl = f"""
CREATE TABLE {child} (id int PRIMARY KEY, owner int, note text);
CREATE VIEW {name}_docs AS SELECT p.*, coalesce((SELECT jsonb_agg(jsonb_build_array(c.id, c.note)
    ORDER BY c.id) FROM {child} c WHERE c.owner = p.id), '[]') AS lines FROM {name} p;
"""
    yaml = f"  {child}: {{refreshes: {name}, through: {{owner: id}}}}\n"
    parts = {"ddl": table.ddl + ddl, "yaml": table.yaml + yaml, "child": child}
    return Table(**{**table.__dict__, **parts})


def _partitioned(random: Random, name: str) -> Table:
    keys = tuple((part, n) for part in PARTS for n in range(12))
    options = [f"trigger: {random.choice(['row', 'statement'])}"]
    columns = {"part": "int", "id": "int"}
    table = _table(random, name, columns, keys, "PARTITION BY LIST (part)", options)
    parts = "".join(
        f"CREATE TABLE {name}_{n} PARTITION OF {name} FOR VALUES IN ({n});\n" for n in PARTS
    )
    return Table(**{**table.__dict__, "ddl": table.ddl + parts, "partitioned": True})


def _table(
    random: Random,
    name: str,
    key: dict[str, str],
    keys: tuple[tuple[Any, ...], ...],
    suffix: str = "",
    options: list[str] | None = None,
    where: str = "true",
) -> Table:
    extra = random.choice(list(_EXTRAS))
    columns = ", ".join(f"{column} {kind}" for column, kind in key.items())
    ddl = f"""
CREATE TABLE {name} ({columns}, grp int, counter int NOT NULL, born bigint NOT NULL, note text,
    extra {extra}, PRIMARY KEY ({", ".join(key)})) {suffix};
"""
    segments = "/".join(f"{{{column}}}" for column in key)
    lines = [f'topics: [{name}, "{name}/{segments}", "groups/{{grp}}/{name}"]', *(options or [])]
    lines += [] if where == "true" else [f'where: "{where}"']
    yaml = f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)
    return Table(name, tuple(key), keys, ddl, yaml, extra, where)
