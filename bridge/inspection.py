"""Config against database: what would keep the bridge from working, each with its remedy."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from bridge import catalog, conditions, definer, migrate, policies, roles
from bridge.drift import compatible, drift
from bridge.errors import BridgeError, CatalogError, DatabaseError
from bridge.gateways import access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config import Config
    from bridge.config.auth import RlsConfig
    from bridge.tables import Name, Table

QUEUE_WARNING = 0.01
"""Share of the NOTIFY queue in use from which somebody should look."""

ECHO = 5.0
"""Seconds a notification to ourselves may take."""


class Finding(NamedTuple):
    """`about` names the thing. A `grave` one keeps the bridge from its job; others are advice."""

    about: str
    message: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.about}: {self.message}"


def inspect(config: Config) -> Iterator[Finding]:
    """Everything found, as it is found. Raises nothing that a database can cause."""
    try:
        access.guard(config)
    except BridgeError as error:
        yield Finding("auth", str(error))
    try:
        with psycopg.connect(config.database, autocommit=True, connect_timeout=10) as connection:
            yield from _database(config, connection)
    except psycopg.Error as error:
        yield Finding("database", f"{str(error).strip()}; check `database` in the config")


def _database(config: Config, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    facts = catalog.facts(connection)
    if facts.in_recovery:
        yield Finding("database", "is a standby, where LISTEN is not possible; name the primary")
        return
    yield from _advice(config, facts)
    yield from _echo(config, connection)
    try:
        compatible(connection, config)
    except DatabaseError as error:
        yield Finding(config.schema, str(error))
        return
    try:
        tables = catalog.resolved(connection, config)
    except CatalogError as error:
        for problem in error.problems:
            yield Finding("config", str(problem))
        return
    yield from _rights(config, connection, tables)
    if config.rls:
        yield from _policies(config, config.rls, connection, tables)
    yield from _passed_by(connection, tables)
    yield from _capture(config, connection, tables)


def _advice(config: Config, facts: catalog.Facts) -> Iterator[Finding]:
    if facts.version_number < 140000:
        yield Finding("database", f"PostgreSQL {facts.version}; 14 or newer is needed")
    if facts.encoding == "SQL_ASCII":
        yield Finding("database", "encoding SQL_ASCII: text that is not UTF-8 cannot be sent")
    notifying = not all(table.durable or table.mode == "log" for table in config.tables.values())
    if facts.max_prepared_transactions > 0 and notifying:
        yield Finding(
            "database",
            "max_prepared_transactions > 0: PostgreSQL refuses PREPARE TRANSACTION after a"
            " write to a table that is neither `durable` nor a log, because the trigger notifies",
            grave=False,
        )
    if facts.queue_usage >= QUEUE_WARNING:
        yield Finding(
            "database",
            f"the NOTIFY queue is {facts.queue_usage:.0%} full: some session LISTENs and does"
            " not read; find it in pg_stat_activity (state idle, wait_event ClientWrite)",
        )


def _echo(config: Config, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """A notification sent through `database` must arrive where we LISTEN."""
    try:
        with psycopg.connect(config.listen, autocommit=True, connect_timeout=10) as listener:
            channel, nonce = config.schema, f'{{"probe":"check-{secrets.token_hex(8)}"}}'
            listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            connection.execute("SELECT pg_notify(%s, %s)", (channel, nonce))
            if not any(got.payload == nonce for got in _heard(listener, nonce)):
                yield Finding(
                    "listen",
                    "a notification to ourselves did not arrive: a transaction pooler is in"
                    " the way, or `listen` and `database` are two databases; give `listen` a"
                    " direct connection to the same database",
                )
    except psycopg.Error as error:
        yield Finding("listen", f"{str(error).strip()}; check `listen` in the config")


def _heard(listener: psycopg.Connection[Any], nonce: str) -> Iterator[psycopg.Notify]:
    for notification in listener.notifies(timeout=ECHO):
        yield notification
        if notification.payload == nonce:
            return


def _rights(
    config: Config, connection: psycopg.Connection[Any], tables: Mapping[str, Table]
) -> Iterator[Finding]:
    """Of the serving role; where policies decide, states are not its to read."""
    states = config.rls is None
    for table in tables.values():
        for place, columns in roles.read(table, tables, states=states).items():
            yield from _right(connection, table, place, columns)
        if states:
            yield from _condition(connection, table)
    yield from _epoch(config, connection, "SELECT,UPDATE")


def _condition(connection: psycopg.Connection[Any], table: Table) -> Iterator[Finding]:
    if table.where and conditions.forbidden(connection, table):
        role = _role(connection)
        yield Finding(table.name, f"{role} may not read what `where` names; GRANT SELECT on it")


def _policies(
    config: Config,
    rls: RlsConfig,
    connection: psycopg.Connection[Any],
    tables: Mapping[str, Table],
) -> Iterator[Finding]:
    """Of the role that states are read under."""
    if (refusal := policies.refusal(connection, rls)) is not None:
        yield Finding(*refusal)
        return
    served = [table for table in tables.values() if table.served]
    with policies.acting(connection, rls):
        for table in served:
            for place, columns in roles.read(table, {}, states=True).items():
                yield from _right(connection, table, place, columns, expected=True)
            yield from _condition(connection, table)
        yield from _epoch(config, connection, "SELECT")
    for table in served:
        yield from (Finding(*remark) for remark in policies.remarks(connection, rls, table))


def _role(connection: psycopg.Connection[Any]) -> str:
    ((role,),) = connection.execute("SELECT current_user::text").fetchall()
    return str(role)


def _right(
    connection: psycopg.Connection[Any],
    table: Table,
    place: Name,
    columns: set[str],
    *,
    expected: bool = False,
) -> Iterator[Finding]:
    """`expected`: that row security filters is what it is there for."""
    relation = catalog.read(connection, [place])[place]
    if relation is None:  # dropped a moment ago
        return
    may = catalog.privileges(connection, [relation.oid])[relation.oid]
    role = _role(connection)
    if not may.enters:
        yield Finding(table.name, f"{role} may not enter schema {place[0]}; GRANT USAGE")
    if missing := sorted(columns - set(may.columns)):
        yield Finding(
            table.name,
            f"{role} may not read {', '.join(missing)} of {relation.shown};"
            f" GRANT SELECT ON {relation.shown} TO {role}",
        )
    if may.filtered and not expected:
        yield Finding(
            table.name,
            f"row security filters what {role} sees of {relation.shown}; subscribers get no more",
            grave=False,
        )


def _passed_by(
    connection: psycopg.Connection[Any], tables: Mapping[str, Table]
) -> Iterator[Finding]:
    """What writes to partitions without their table's triggers noticing."""
    places = {table.name: (table.schema, table.relation) for table in tables.values()}
    found = catalog.read(connection, places.values())
    for name, place in places.items():
        relation = found[place]
        direct = [one for one in relation.foreign_keys if one.direct] if relation else []
        if direct and tables[name].trigger == "statement":
            columns = ", ".join(column for one in direct for column in one.columns)
            yield Finding(
                name,
                f"single partitions have a foreign key on {columns} whose ON UPDATE or ON DELETE"
                " action writes to them directly, which no statement trigger sees; say"
                " `trigger: row`",
            )


def _epoch(config: Config, connection: psycopg.Connection[Any], rights: str) -> Iterator[Finding]:
    name = sql.Identifier(config.schema, "epoch").as_string(connection)
    statement = "SELECT to_regclass(%(e)s) IS NULL OR has_table_privilege(%(e)s, %(rights)s)"
    try:
        with connection.transaction():
            allowed = connection.execute(statement, {"e": name, "rights": rights}).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        allowed = (False,)
    if allowed != (True,):
        role = _role(connection)
        yield Finding(
            config.schema,
            f"{role} may not use it; GRANT USAGE ON SCHEMA {config.schema} TO {role};"
            f" GRANT {rights.replace(',', ', ')} ON {config.schema}.epoch TO {role}",
        )


def _capture(
    config: Config, connection: psycopg.Connection[Any], tables: Mapping[str, Table]
) -> Iterator[Finding]:
    for one in drift(connection, config, tables):
        yield Finding(
            one.table or config.schema, f"{one.message}; run `rowcast migrate`", one.grave
        )
    for said in definer.remarks(connection, config):
        yield Finding("definer", said, grave=False)
    for said in migrate.left(config):
        yield Finding(config.schema, said, grave=False)
    for name, asked in catalog.asked(connection, config).items():
        yield from _unsent(asked, tables[name])


def _unsent(asked: Table, served: Table) -> Iterator[Finding]:
    """Under `exclude`: what a migration would begin to send."""
    if later := [column for column in asked.columns if column not in served.columns]:
        yield Finding(
            asked.name,
            f"{', '.join(later)} was added later and is not sent; `rowcast migrate` would send"
            " it, `exclude` would keep it",
            grave=False,
        )
    if asked.sent is not None and served.sent is None:
        yield Finding(
            asked.name,
            "a column that is added to the table would be sent at the next start; `rowcast"
            " migrate` notes down which there are now",
            grave=False,
        )
