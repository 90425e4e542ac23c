"""Roles of a test's own, by the URLs that they log in with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from psycopg import sql

from tests.support import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@contextmanager
def logins(database: str, admin: psycopg.Connection, *purposes: str) -> Iterator[list[str]]:
    """The URL of a new role for each purpose; they and what they own are gone at the end."""
    tag = uuid4().hex[:8]
    names = [f"{purpose}_{tag}" for purpose in purposes]
    for name in names:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    url = urlsplit(database)
    try:
        yield [url._replace(netloc=f"{name}@{url.hostname}:{url.port}").geturl() for name in names]
    finally:
        for name in names:
            drop(admin, name)


def owning(database: str, admin: psycopg.Connection, owner: str, tables: str) -> None:
    """Let the role of the URL `owner` make these tables, and schemas."""
    role = sql.Identifier(name(owner))
    place = sql.Identifier(urlsplit(database).path[1:])
    admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(place, role))
    admin.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(role))
    with connect(owner) as session:
        session.execute(tables.encode())


def drop(admin: psycopg.Connection, role: str) -> None:
    admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def name(url: str) -> str:
    """Whom a URL logs in."""
    return urlsplit(url).username or ""
