"""Installing capture in a test's database, and hearing what it announces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge import catalog, inventory
from bridge.changes import parse
from bridge.config import Config, TableConfig
from bridge.topics import Template
from bridge.triggers import desired, plan

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection

    from bridge.changes import Change, Gap
    from bridge.tables import Table


def entry(name: str, *, topics: tuple[str, ...] | None = None, **options: Any) -> TableConfig:
    """One table of a config; topics as text."""
    options.setdefault("table", (None, name))
    templates = topics and tuple(Template.parse(text) for text in topics)
    return TableConfig(name, topics=templates, **options)


def config(*entries: TableConfig, schema: str = "rowcast", database: str = "") -> Config:
    tables = {table.name: table for table in entries}
    return Config("config.yaml", database, database, schema, tables)


def watch(
    connection: Connection[Any], *entries: TableConfig, schema: str = "rowcast"
) -> dict[str, Table]:
    """Brings capture to what these entries say, in the connection's database."""
    tables = catalog.resolved(connection, config(*entries, schema=schema))
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    found = inventory.installed(connection, schema)
    for step in plan(desired(tables.values(), schema), found, schema):
        for statement in step.statements:
            connection.execute(statement)
    return tables


class Ear:
    """LISTENs on a connection of its own; `payloads` and `changes` empty what came so far."""

    def __init__(
        self, connection: Connection[Any], tables: dict[str, Table], channel: str = "rowcast"
    ) -> None:
        self._connection = connection
        self._widths = {name: table.width for name, table in tables.items()}
        connection.execute(f'LISTEN "{channel}"')

    def payloads(self) -> list[str]:
        """What was committed before this call: a round trip delivers all of it."""
        notifications: list[psycopg.Notify] = []
        self._connection.add_notify_handler(notifications.append)
        self._connection.execute("SELECT")
        self._connection.remove_notify_handler(notifications.append)
        return [notification.payload for notification in notifications]

    def changes(self) -> list[Change | Gap]:
        heard: list[Change | Gap] = []
        for payload in self.payloads():
            parsed = parse(payload, self._widths)
            heard += parsed if isinstance(parsed, list) else [parsed]
        return heard
