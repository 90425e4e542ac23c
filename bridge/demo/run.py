"""The demo: an embedded PostgreSQL, a sample shop in it, the bridge, and real traffic.

Everything is what a user would do by hand, in the same order and through the same
code: create the tables, `migrate`, `serve`; only the application is played by us.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bridge import config as configuration
from bridge.demo import traffic
from bridge.demo.postgres import Postgres
from bridge.pipeline import Bridge
from bridge.process import until_signalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.config import Config


def settings(url: str, *, host: str = "127.0.0.1", port: int = 8765) -> Config:
    """The demo's config for a shop that lives at `url`."""
    text = files("bridge.demo").joinpath("config.yaml").read_text(encoding="utf-8")
    config = configuration.loads(text, file="bridge/demo/config.yaml", env={"DATABASE_URL": url})
    return replace(config, server=replace(config.server, host=host, port=port, inspector=True))


def open_shop(url: str) -> None:
    """Create and fill the tables of the shop, as an application's own migrations would."""
    with psycopg.connect(url) as connection:
        connection.execute(files("bridge.demo").joinpath("shop.sql").read_bytes())


@contextmanager
def database(tell: Callable[[str], None]) -> Iterator[str]:
    """URL of an empty database: on $DATABASE_URL's server, else on one of our own.

    It is a new one in either case, and gone afterwards: the demo writes to no table that
    was there before it.
    """
    if url := os.environ.get("DATABASE_URL"):
        yield from _borrowed(url, tell)
        return
    tell("starting PostgreSQL")
    with Postgres.start() as server:
        tell(f"PostgreSQL {server.version} runs")
        yield server.url()


def _borrowed(url: str, tell: Callable[[str], None]) -> Iterator[str]:
    name = f"rowcast_demo_{secrets.token_hex(3)}"
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        tell(f"creating database {name} on the server of $DATABASE_URL")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


async def serve(
    config: Config, *, rate: float, seed: int | None, started: Callable[[str, int], None]
) -> None:
    """Serve the shop while it is being used, until SIGINT or SIGTERM."""
    async with asyncio.TaskGroup() as tasks:
        random = Random(seed)
        shopping = tasks.create_task(traffic.run(config.database, rate=rate, random=random))
        await until_signalled(Bridge(config), started)
        shopping.cancel()
