"""A database of somebody's, taken through everything that a user of the bridge does.

`init`, `check`, `migrate`, `check`, `serve`, all as commands and without an edit; then
writes to every table while topics of every table are followed; then what each follower
holds is compared with what SELECT returns; then `migrate --remove`, after which the
catalog must be what it was. Anything else than that raises AssertionError.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from psycopg import sql

from bridge import catalog
from bridge import config as configuration
from bridge.tables import SETTINGS
from tests.support import connect
from tests.support.anything import Anything
from tests.support.commands import Rowcast
from tests.support.fingerprint import fingerprint
from tests.support.replica import following

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

    from bridge.tables import Table
    from bridge.topics import Template
    from tests.support.commands import Serving
    from tests.support.replica import Replica, Rows

EACH = 6
"""Topics followed of each template with columns in it."""


@dataclass
class Report:
    """What happened. `unwritten` are the tables where every statement was refused."""

    config: str = ""
    watched: int = 0
    topics: int = 0
    too_large: list[str] = field(default_factory=list)
    written: Counter[tuple[str, str]] = field(default_factory=Counter)
    unwritten: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    rows: int = 0

    @property
    def tables(self) -> set[str]:
        """Those that were written to."""
        return {name for name, _ in self.written}


@dataclass(frozen=True)
class Followed:
    """A topic with the SELECT that says what it should hold."""

    topic: str
    table: Table
    template: Template
    values: tuple[str, ...]

    def rows(self, connection: Connection[Any]) -> Rows:
        """The rows by key, as JSON has them."""
        found = connection.execute(self._select().as_bytes(connection)).fetchall()
        return {key: json.loads(row) for key, row in ((_key(k), row) for k, row in found)}

    def _select(self) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, self.table.columns))
        return sql.SQL(
            "SELECT (SELECT to_jsonb(k)::text FROM (SELECT {key}) k),"
            " (SELECT to_jsonb(r)::text FROM (SELECT {columns}) r) FROM {table} t WHERE {match}"
        ).format(
            key=sql.SQL(", ").join(column.identifier for column in self.table.key),
            columns=columns,
            table=self.table.identifier,
            match=sql.SQL(" AND ").join([sql.SQL("true"), *self._matches()]),
        )

    def _matches(self) -> list[sql.Composable]:
        return [
            sql.SQL("{} = {}").format(_text(self.table, name), sql.Literal(value))
            for name, value in zip(self.template.columns, self.values, strict=True)
        ]


def _key(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _text(table: Table, name: str) -> sql.Composable:
    """The text by which a column stands in a topic."""
    columns = {column.name: column for column in table.key + table.routing}
    return columns[name].text("t")


async def rehearse(database: str, directory: Path, *, seed: int, transactions: int) -> Report:
    """Take `database` through it; `directory` is for the config that `init` writes."""
    report, rowcast = Report(), Rowcast(directory, database)
    with connect(database) as admin:
        for name, value in SETTINGS.items():
            admin.execute("SELECT set_config(%s, %s, false)", (name, value))
        before = fingerprint(admin)
        await _installed(rowcast)
        report.config = (directory / "config.yaml").read_text()
        async with rowcast.serving() as serving:
            await _followed(serving, database, directory, admin, report, (seed, transactions))
        await _ends(rowcast, 0, "migrate", "--remove")
        await asyncio.to_thread(_unchanged, before, admin)
    return report


async def _installed(rowcast: Rowcast) -> None:
    await _ends(rowcast, 0, "init", "--force")
    await _ends(rowcast, 3, "check")
    await _ends(rowcast, 0, "migrate")
    await _ends(rowcast, 0, "check")


async def _ends(rowcast: Rowcast, status: int, *arguments: str) -> None:
    done = await rowcast.run(*arguments)
    assert done.status == status, f"{' '.join(arguments)}: {done.status}\n{done.out}{done.err}"


async def _followed(
    serving: Serving,
    database: str,
    directory: Path,
    admin: Connection[Any],
    report: Report,
    history: tuple[int, int],
) -> None:
    """Follow, write, compare."""
    config = configuration.load(directory / "config.yaml", {"DATABASE_URL": database})
    tables = catalog.resolved(admin, config)
    report.watched = len(tables)
    random = Random(history[0])
    most = config.limits.snapshot_rows
    # A schema that came without data has no topics of single rows before somebody writes.
    await asyncio.to_thread(_write, database, random, history[1] // 5, Report())
    chosen = {name: _chosen(admin, random, table, most, report) for name, table in tables.items()}
    url = serving.address.replace("http", "ws", 1) + "/ws"
    async with AsyncExitStack() as stack:
        replicas = {
            name: await stack.enter_async_context(following(url, *(one.topic for one in topics)))
            for name, topics in chosen.items()
            if topics
        }
        await asyncio.to_thread(_write, database, random, history[1], report)
        for name, replica in replicas.items():
            expected = {one.topic: one.rows(admin) for one in chosen[name]}
            await replica.equals(expected)
            _count(report, replica, expected)


def _count(report: Report, replica: Replica, expected: dict[str, Rows]) -> None:
    assert replica.regressions == []
    errors = [message for message in replica.messages if message["type"] == "error"]
    assert errors == []
    report.messages += sum(message["type"] == "change" for message in replica.messages)
    report.topics += len(expected)
    report.rows += sum(map(len, expected.values()))


def _write(database: str, random: Random, transactions: int, report: Report) -> None:
    with connect(database) as connection:
        connection.execute("SET lock_timeout = '10s'")
        writer = Anything(connection, random)
        for _ in range(transactions):
            writer.transaction()
    report.written, report.refused = writer.done, writer.reasons
    names = [f"{target.schema}.{target.name}" for target in writer.targets]
    report.unwritten = [name for name in names if name not in report.tables]


def _chosen(
    connection: Connection[Any], random: Random, table: Table, most: int, report: Report
) -> list[Followed]:
    """The topics to follow: of each template the one there is, or some of those of its rows."""
    found: dict[str, Followed] = {}
    for template in table.templates:
        for values in _values(connection, random, table, template):
            topic = template.topic(dict(zip(template.columns, values, strict=True)))
            assert topic is not None
            followed = Followed(topic, table, template, values)
            if len(followed.rows(connection)) > most:
                report.too_large.append(topic)
            else:
                found[topic] = followed
    return list(found.values())


def _values(
    connection: Connection[Any], random: Random, table: Table, template: Template
) -> list[tuple[str, ...]]:
    if not template.columns:
        return [()]
    texts = [_text(table, name) for name in template.columns]
    statement = sql.SQL("SELECT DISTINCT {} FROM {} t LIMIT 2000").format(
        sql.SQL(", ").join(texts), table.identifier
    )
    found = connection.execute(statement.as_bytes(connection)).fetchall()
    known = sorted(values for values in found if None not in values)
    return random.sample(known, min(EACH, len(known)))


def _unchanged(before: set[tuple[str, ...]], admin: Connection[Any]) -> None:
    after = fingerprint(admin)
    assert after == before, f"left behind: {after - before}; lost: {before - after}"
