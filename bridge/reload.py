"""A new config for a bridge that runs: asked for by a signal, refused whole or served whole.

What is served can change: the tables, their timing, `reconcile`. What connections were made
by cannot: where the database is, where the bridge listens, who may come. A config that
changes those as well is refused with the list of them, lest half of it be served.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from bridge import catalog
from bridge.backoff import Backoff
from bridge.delivery import reason
from bridge.drift import compatible
from bridge.errors import BridgeError, CatalogError, ConfigError, DatabaseError
from bridge.link import briefly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.config import Config
    from bridge.health import Health
    from bridge.tables import Table

log = logging.getLogger(__name__)

LIVE = frozenset({"file", "tables", "reconcile", "places"})
"""Fields of a config that may differ."""


class Reload:
    """Where a signal leaves its wish, and a bridge waits for one that can be granted."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._load: Callable[[], Config] | None = None

    def ask(self, load: Callable[[], Config]) -> None:
        """From a signal handler; `load` raises ConfigError."""
        self._load = load
        self._asked.set()

    async def granted(self, config: Config) -> tuple[Config, dict[str, Table]]:
        """The next config that can be served in place of `config`, and its tables."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            assert self._load is not None
            try:
                new = await asyncio.to_thread(_renewed, config, self._load)
                return new, await resolved(new)
            except (ConfigError, CatalogError) as error:
                _refuse([str(problem) for problem in error.problems])
            except (BridgeError, psycopg.Error, OSError) as error:
                _refuse([reason(error)])


async def found(config: Config, health: Health) -> dict[str, Table]:
    """The same, as soon as the database can be reached and is of a version that goes together
    with this one's. Raises CatalogError."""
    backoff = Backoff()
    while True:
        try:
            return await resolved(config)
        except psycopg.Error as error:
            health.fail("database", reason(error))
            log.warning("database unreachable", extra={"reason": reason(error)})
        except DatabaseError as error:
            health.fail("database", str(error))
            log.warning("database of another version", extra={"reason": str(error)})
        await asyncio.sleep(backoff.delay())


def _refuse(problems: list[str]) -> None:
    log.error("new config refused; the old one stays", extra={"problems": problems})


def _renewed(old: Config, load: Callable[[], Config]) -> Config:
    new = load()
    if fixed := list(differences(old, new)):
        raise ConfigError(
            [new.problem("cannot change while the bridge runs; restart it", *p) for p in fixed]
        )
    return new


async def resolved(config: Config) -> dict[str, Table]:
    """The config's tables as the database has them. Raises CatalogError, `psycopg.Error`, and
    DatabaseError where what is there is of a version that this one cannot work with."""
    return await briefly(config.database, partial(_looked_up, config=config))


def _looked_up(connection: psycopg.Connection[Any], config: Config) -> dict[str, Table]:
    compatible(connection, config)
    return catalog.resolved(connection, config)


def differences(old: object, new: object) -> Iterator[tuple[str, ...]]:
    """Paths of what differs between two configs and may not; no values, which may be secret."""
    for field in fields(old):  # type: ignore[arg-type]
        if field.name in LIVE or not field.compare:
            continue
        one, other = getattr(old, field.name), getattr(new, field.name)
        if is_dataclass(one) and type(one) is type(other):
            yield from ((field.name, *path) for path in differences(one, other))
        elif one != other:
            yield (field.name,)
