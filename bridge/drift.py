"""What is in the database against what the config asks for, without anything that migrates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge import inventory, triggers, versions
from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from bridge.config import Config
    from bridge.tables import Table


class Drift(NamedTuple):
    """One difference between config and database; `table` is empty for the bridge's own objects.

    What is not `grave` is the work of another version, and as good as ours.
    """

    table: str
    message: str
    grave: bool = True


def drift(connection: Connection[Any], config: Config, tables: Mapping[str, Table]) -> list[Drift]:
    """What `rowcast migrate` would mend, but for revisions; empty where all is well.

    Raises `DatabaseError` where a bridge of this version cannot work with what is there.
    """
    installed = inventory.installed(connection, config.schema)
    if not installed.epoch:
        return [Drift("", f"the schema {config.schema} is missing or not complete")]
    if refused := versions.refusal(installed.mark, config.schema):
        raise DatabaseError(refused)
    captures = triggers.desired(tables.values(), config.schema)
    steps = triggers.plan(captures, installed, config.schema, config.definer)
    found = [Drift(step.table, step.finding, step.grave) for step in steps]
    return [*_version(installed.mark), *found]


def compatible(connection: Connection[Any], config: Config) -> None:
    """Raises `DatabaseError` where a bridge of this version cannot work with the database."""
    refused = versions.refusal(inventory.mark(connection, config.schema), config.schema)
    if refused:
        raise DatabaseError(refused)


def migratable(connection: Connection[Any], config: Config) -> None:
    """Raises `DatabaseError` where a later version made what is there: this one would take that
    for damage."""
    if refused := versions.newer(inventory.mark(connection, config.schema), config.schema):
        raise DatabaseError(refused)


def _version(mark: str) -> Iterator[Drift]:
    if remark := versions.remark(mark):
        yield Drift("", remark, grave=False)
