"""What tests share: a server, databases on it, a proxy that breaks connections.

Everything here is real. A test gets its own database, made in milliseconds from a
template, so that none can see what another left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator


PATIENCE = 120.0
"""Seconds after which what a test waits for will not happen, on a very busy machine either."""


class Server(Protocol):
    """What a test may ask of any server: `Postgres` and `External` have it."""

    @property
    def version(self) -> str: ...

    def url(self, database: str = "postgres") -> str: ...


@dataclass(frozen=True, slots=True)
class External:
    """The server behind DATABASE_URL, whose role must be allowed to create databases."""

    base: str

    @property
    def version(self) -> str:
        with connect(self.base) as connection:
            return str(connection.info.parameter_status("server_version"))

    def url(self, database: str = "") -> str:
        """The same server, another database; the one named in DATABASE_URL if none is given."""
        path = f"/{quote(database, safe='')}" if database else urlsplit(self.base).path
        return urlunsplit(urlsplit(self.base)._replace(path=path))


def connect(url: str) -> psycopg.Connection:
    """A session in autocommit mode; close it, or use it as a context manager."""
    return psycopg.connect(url, autocommit=True, connect_timeout=round(PATIENCE))


def fresh_database(server: Server, template: str) -> Iterator[str]:
    """A database of one test's own, as a URL; dropped afterwards, whoever is still in it."""
    name = f"test_{uuid4().hex}"
    _administer(server, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield server.url(name)
    finally:
        _administer(server, "DROP DATABASE {} WITH (FORCE)", name)


def _administer(server: Server, statement: str, *names: str) -> None:
    with connect(server.url()) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
