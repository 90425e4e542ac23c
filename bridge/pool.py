"""The connections that read: autocommit, with the settings under which keys are compared."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from bridge.errors import DatabaseError
from bridge.link import Connection, heeding, keepalives
from bridge.tables import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.config import Config

SIZE = 4
"""Connections per instance; a table that is locked keeps one of them busy."""

STATEMENT_TIMEOUT = 5000
"""Milliseconds after which PostgreSQL gives up a read."""

_BUMP = """UPDATE {} SET epoch = greatest(epoch + 1,
           (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"""

_NO_SCHEMA = psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName

# Of a table without statistics PostgreSQL expects so many rows that it compiles a read of
# one key, which then takes some hundred milliseconds.
_SESSION = {**SETTINGS, "jit": "off", "statement_timeout": str(STATEMENT_TIMEOUT)}


class Pool(AsyncConnectionPool[Connection]):
    """One whose users end when they are cancelled."""

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        given: Connection | None = None
        try:
            with heeding():
                given = await super().getconn(timeout)
        except asyncio.CancelledError:
            if given is not None:
                await self.putconn(given)
            raise
        return given

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:  # noqa: ASYNC109
        """Without the commit that ends the block elsewhere: each statement is its own."""
        given = await self.getconn(timeout)
        try:
            yield given
        finally:
            await self.putconn(given)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        """To its end, also where who closes it is cancelled once more: else nobody closes
        the connections."""
        closing = asyncio.ensure_future(super().close(timeout))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise


def open_pool(config: Config) -> Pool:
    """Not open yet: use it as a context manager.

    Each connection begins an epoch before it reads. It may be the first to a server that has
    crashed or was promoted, while the listener has not noticed yet that its own is dead.
    """
    settings: dict[str, Any] = {
        **keepalives(config.database),
        "autocommit": True,
        "application_name": "rowcast",
        "connect_timeout": 5,
    }
    if local_settings(config):
        settings["prepare_threshold"] = None
    else:
        # As libpq wants them, where a blank would end a value.
        given = (f"-c {name}={value.replace(' ', '')}" for name, value in _SESSION.items())
        settings["options"] = " ".join(given)
    return Pool(
        config.database,
        connection_class=Connection,
        min_size=1,
        max_size=SIZE,
        timeout=5.0,
        open=False,
        configure=partial(_begin, schema=config.schema),
        kwargs=settings,
    )


def local_settings(config: Config) -> sql.Composed | None:
    """SQL that each reading transaction must begin with; None where sessions are our own.

    A `listen` of its own says that `database` goes through a transaction pooler. There
    what a session was told, or has prepared, is not there on the next transaction.
    """
    if config.listen == config.database:
        return None
    return sql.SQL("; ").join(
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in _SESSION.items()
    )


async def bump_epoch(pool: AsyncConnectionPool[Connection], schema: str) -> None:
    """Begin a new epoch, committed, before anything is published after a loss.

    A crash makes PostgreSQL issue the same transaction numbers again; the epoch is what
    still tells a later read from an earlier one. What made LISTEN fail may have made the
    open connections useless, and each would be found out by one read: they go too.
    """
    await pool.drain()
    try:
        async with pool.connection() as connection:
            await _bump(connection, schema)
    except _NO_SCHEMA:
        raise DatabaseError(f"schema {schema} is not there; run `rowcast migrate`") from None


async def _begin(connection: Connection, schema: str) -> None:
    with suppress(*_NO_SCHEMA):  # which reads will say
        await _bump(connection, schema)


async def _bump(connection: Connection, schema: str) -> None:
    await connection.execute(sql.SQL(_BUMP).format(sql.Identifier(schema, "epoch")))
