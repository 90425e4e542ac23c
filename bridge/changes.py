"""What travels between the parts: changes on the way in, states on the way out.

Two rules. A change says *that* a key was written, never *what*: the truth is read
later. And loss is data: where changes may have been missed, a `Gap` travels the
same way as a change does, and every layer knows what to do with it.

The payload of a notification, written by `triggers` and read by `parse`:

    {"t":"orders","o":"u","k":[["42"],["43","7"]]}    changed keys, one operation
    {"t":"orders","o":"*"}                            anything may have changed
    {"ring":"changes"}                                something was written to that store
    {"ring":"changes","xid":"7","t":…,"o":…,"k":…}    so, this among it, by that transaction
    {"ring":"changes","by":"…"}                       so, and this instance has found it
    {"ring":"changes","asks":"…"}                     writers may not ring: this instance asks

`t` is the table's public name, `o` one of `i u d`. Each entry of `k` is the key's
columns as text; where routing columns (topic columns outside the key) had other
values before, those old values follow the key in the same entry. Nothing in a
payload is unique to its moment: PostgreSQL sends equal payloads of one transaction
once, and that is wanted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.cursor import Moment

Key: TypeAlias = tuple[str, ...]
"""A row's key columns as text, in the order of the config."""

Mark: TypeAlias = "tuple[int, Moment]"
"""(number of a reading of kept changes, the moment up to which all before it had read)."""

Old: TypeAlias = tuple[str | None, ...]
"""The routing columns' values before a change, as text, in the order of `Table.routing`."""


class Operation(StrEnum):
    """What the trigger saw; a hint. A key that reads no row is deleted, whatever it says."""

    INSERT = "i"
    UPDATE = "u"
    DELETE = "d"


class Effect(StrEnum):
    """What a change does to the set of rows that a topic is: the wire's `op`."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


class Change(NamedTuple):
    """This key of this table was written.

    `age` is for how many seconds it had been on its way when it came here, where that is known.
    """

    table: str
    key: Key
    operation: Operation
    old: Old | None = None
    age: float = 0.0


class Gap(NamedTuple):
    """Changes of this table (of every table, if None) may have been missed."""

    table: str | None
    reason: str


class Ring(NamedTuple):
    """A transaction wrote to this store of the bridge: read on there.

    `by` is the instance that tells, or `asks` the one that leads from now on (see `pacer`);
    both are empty where it is the writer. `changes` are among what the transaction `xid` wrote; any
    role can say so, and they are for reading ahead alone.
    """

    store: str
    by: str = ""
    asks: str = ""
    xid: str = ""
    changes: tuple[Change, ...] = ()


class Lost(NamedTuple):
    """The way from the database is broken; a Gap follows when it is whole again."""

    reason: str


class Dirty(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A key with changes that no read has seen yet.

    `existed` is what the first of those changes says about the time before it;
    `old` gathers where the row was meanwhile, for the topics it has left; `since` is when
    the first of them arrived, and `age` how old it was then, both for measuring alone. `mark` is
    from where on the first of them can be read again, if it is kept. Equal are two that say the
    same of the key, whenever they came.
    """

    key: Key
    existed: bool
    old: frozenset[Old] = frozenset()
    since: float = 0.0
    mark: Mark | None = None
    age: float = 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dirty):
            return NotImplemented
        return (self.key, self.existed, self.old) == (other.key, other.existed, other.old)

    def __hash__(self) -> int:
        return hash((self.key, self.existed, self.old))


class State(NamedTuple):
    """What one key is now, as PostgreSQL wrote it, or that it is no more.

    `values` are the texts of `Table.key + Table.routing`, in that order, or only the
    key's where there is no row; behind those of a log table is its position as JSON.
    `key_json` and `row` are JSON, never parsed here.
    """

    key: Key
    values: tuple[str | None, ...]
    key_json: str
    row: str | None
    version: str


class Event(NamedTuple):
    """One entry of the log with the row it speaks of, as `viewer` sees it; without one, rows
    that cannot be named or read."""

    seq: int
    table: str
    state: State | None
    viewer: str | None = None


class Snapshot(NamedTuple):
    """All rows of one topic at one moment, as (key, row) JSON texts.

    `refused` are keys of rows that PostgreSQL could not put into JSON; they are left out.
    """

    rows: Sequence[tuple[str, str]]
    version: str
    refused: tuple[Key, ...] = ()
    moment: Moment | None = None


STORES = ("changes", "log")
"""Where durable tables' changes are kept, and log tables' rows are numbered."""


class Malformed(ValueError):  # noqa: N818
    """A payload no trigger of ours wrote. Any role may NOTIFY: count it, and go on."""


_OPERATIONS = {operation.value: operation for operation in Operation}


class Said(msgspec.Struct, gc=False):
    """What a payload may say; what else is in it, a later version may have written."""

    t: str = ""
    o: str = ""
    k: list[tuple[str | None, ...]] | None = None
    ring: str = ""
    by: str = ""
    asks: str = ""
    xid: str = ""


_decoded = msgspec.json.Decoder(Said).decode


def parse(payload: str | bytes, widths: dict[str, tuple[int, int]]) -> list[Change] | Gap | Ring:
    """A notification's payload → its changes, or the Gap or the Ring it stands for.

    `widths` gives (key columns, routing columns) of each table that is watched.
    Raises `Malformed` for anything that a trigger of these tables cannot have written.
    """
    try:
        said = _decoded(payload)
    except (ValueError, RecursionError) as error:
        raise Malformed(repr(error)) from error
    return heard(said, widths)


def heard(
    said: Said, widths: dict[str, tuple[int, int]], age: float = 0.0
) -> list[Change] | Gap | Ring:
    """The same of a payload that is decoded already, and of changes that are so old."""
    if said.ring:
        return _ring(said, widths)
    try:
        table, width = said.t, widths[said.t]
        if said.o == "*":
            return Gap(table, "many keys changed")
        operation = _OPERATIONS[said.o]
    except KeyError as error:
        raise Malformed(repr(error)) from error
    if said.k is None:
        raise Malformed(f"{table}: no keys")
    return [_change(table, operation, values, width, age) for values in said.k]


def _ring(said: Said, widths: dict[str, tuple[int, int]]) -> Ring:
    if said.ring not in STORES:
        raise Malformed("no such store")
    return Ring(said.ring, said.by, said.asks, said.xid, _named(said, widths))


def _named(said: Said, widths: dict[str, tuple[int, int]]) -> tuple[Change, ...]:
    """The changes in a ring. It is one also where they are those of another config."""
    if not said.k:
        return ()
    try:
        found = heard(Said(said.t, said.o, said.k), widths)
    except Malformed:
        return ()
    return tuple(found) if isinstance(found, list) else ()


def _change(
    table: str, operation: Operation, values: Old, width: tuple[int, int], age: float
) -> Change:
    key, old = values, None
    if len(values) != width[0]:
        if len(values) != sum(width):
            raise Malformed(f"{table}: {len(values)} values in a key")
        key, old = values[: width[0]], values[width[0] :]
    if None in key:
        raise Malformed(f"{table}: a key that is not text")
    for text in values:
        if text is not None and "\0" in text:  # which JSON can say, and PostgreSQL cannot have
            raise Malformed(f"{table}: a value that is not text")
    return Change(table, cast("Key", key), operation, old, age)
