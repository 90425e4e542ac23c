"""What of the bridge is in a database, as values: read by `inventory`, compared by `triggers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class InstalledTrigger:
    """A trigger of ours as the catalog has it. `enabled` is `pg_trigger.tgenabled`, or that
    of its copy on a partition where the two differ.

    `shape` is (tgtype, old transition table, new one), or None where the trigger has
    conditions, columns or arguments, which ours never have. `definition` is the SQL that
    makes it as it is.
    """

    table: int
    schema: str
    relation: str
    name: str
    function: str
    shape: tuple[int, str | None, str | None] | None
    enabled: str = "O"
    definition: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledFunction:
    """A function of ours as the catalog has it; `definition` is the SQL that makes it so.

    `arguments` are the types that tell it from others of its name. `able`: where it runs as its
    `owner`, that one may write to what the function writes to.
    """

    name: str
    comment: str
    body: str
    settings: frozenset[tuple[str, str]]
    security_definer: bool = False
    owner: str = ""
    arguments: str = ""
    able: bool = True
    definition: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledEvents:
    """What there is of the store of published events. `published`: it may hold some."""

    tables: frozenset[str] = frozenset()
    functions: tuple[InstalledFunction, ...] = ()
    published: bool = False

    def __bool__(self) -> bool:
        return bool(self.tables or self.functions)


@dataclass(frozen=True, slots=True)
class Installed:
    """What the database has of the bridge: its schema, its `epoch`, its stores, and capture.

    `mark` is the comment of `epoch`, which says of which version all of it is (`versions`).
    `audited`: the store of what was audited may hold some. `owners` are those of the stores,
    `events` among them.
    """

    schema: bool = False
    epoch: bool = False
    mark: str = ""
    stores: frozenset[str] = frozenset()
    events: InstalledEvents = InstalledEvents()
    triggers: tuple[InstalledTrigger, ...] = ()
    functions: tuple[InstalledFunction, ...] = ()
    audited: bool = False
    owners: Mapping[str, str] = field(default_factory=dict)
