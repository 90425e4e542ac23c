"""What the inspector asks the database, while somebody looks at it and never else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from bridge.statements import standing
from bridge.why import Row, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import sql
    from psycopg_pool import AsyncConnectionPool

    from bridge.changes import Key
    from bridge.link import Connection
    from bridge.tables import Table

_FAILURES = (psycopg.Error, PoolTimeout, UnicodeError)

# Names, unlike addresses, are shown to every role.
_INSTANCES = """
SELECT right(application_name, 4), coalesce(host(client_addr), ''),
       extract(epoch FROM now() - backend_start)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^[a-z0-9_]+ [0-9a-f]{4}$'
  AND left(application_name, -5) = $1
ORDER BY 3 DESC NULLS LAST LIMIT 100
"""


def session_name(schema: str, instance: str) -> str:
    """The `application_name` of the session that listens: whose it is, and which instance."""
    return f"{schema[:58]} {instance}"  # PostgreSQL cuts it at 63


class Instance(NamedTuple):
    """A bridge of this config's schema that listens; `connected` is for how many seconds, where the
    role that serves may know."""

    name: str
    address: str
    connected: float | None


def listening(connection: psycopg.Connection[Any], schema: str) -> list[Instance]:
    """The same from outside of a bridge. Raises `psycopg.Error`."""
    cursor = psycopg.RawCursor(connection)
    return [Instance(*found) for found in cursor.execute(_INSTANCES, [schema[:58]]).fetchall()]


class Inquiry:
    """Of one bridge; `tables` are those that it watches."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        settings: sql.Composed | None,
        tables: Mapping[str, Table],
        schema: str = "rowcast",
    ) -> None:
        """`settings`, if given, are what every transaction has to begin with."""
        self._owner = schema[:58]
        self._pool = pool
        self._settings = settings
        self.tables = tables

    async def instances(self) -> list[Instance]:
        """Empty where the database cannot be asked now."""
        try:
            return [Instance(*found) for found in await self._fetch(_INSTANCES, [self._owner])]
        except _FAILURES:
            return []

    async def standing(self, table: Table, key: Key) -> Standing:
        """What there is of a key now, whatever `where` says."""
        try:
            rows = await self._fetch(standing(table), [[part] for part in key])
        except _FAILURES:
            return Standing(Row.UNKNOWN)
        if not rows:
            return Standing(Row.ABSENT)
        values, meets = rows[0]
        return Standing(Row.PRESENT if meets else Row.FILTERED, tuple(values))

    async def _fetch(self, statement: Any, values: list[Any]) -> list[Any]:
        async with self._pool.connection() as connection, connection.transaction():
            if self._settings is not None:
                await connection.execute(self._settings)
            cursor = psycopg.AsyncRawCursor(connection)
            return await (await cursor.execute(statement, values)).fetchall()
