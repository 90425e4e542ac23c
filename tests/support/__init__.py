"""What tests share: a server, databases on it, a proxy that breaks connections.

Everything here is real. A test gets its own database, made in milliseconds from a
template, so that none can see what another left behind.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator


PATIENCE = 120.0
"""Seconds after which what a test waits for will not happen, on a very busy machine either."""

ROOM = 4 * 2**30
"""Bytes: several servers with WAL, and databases of a hundred megabytes in some tests."""


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
    with connect(server.url()) as admin:
        # Older than 15 there was no other way to do it. Without fsync it takes half the time.
        how = "STRATEGY file_copy" if admin.info.server_version >= 150000 else ""
        _execute(admin, f"CREATE DATABASE {{}} TEMPLATE {{}} {how}", name, template)
    try:
        yield server.url(name)
    finally:
        with connect(server.url()) as admin:
            _execute(admin, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(admin: psycopg.Connection, statement: str, *names: str) -> None:
    admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def in_memory() -> Iterator[None]:
    """What is temporary is made in memory inside, where that has room for servers' data.

    The file system is most of what a database costs, and the more so the busier the disk is.
    """
    before, memory = tempfile.tempdir, Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > ROOM:
        tempfile.tempdir = str(memory)
    try:
        yield
    finally:
        tempfile.tempdir = before
