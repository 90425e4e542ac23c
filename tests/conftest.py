"""Fixtures every test may use. `--pg` chooses the server, else DATABASE_URL, else the first found.

server       the session's PostgreSQL: `.url(database)`, `.version`
database     URL of a fresh database, this test's own
connection   an autocommit session in that database
admin        a second one, for what has to happen at the same time
chromium     the session's browser; its tests run in the loop of the session, too
postgres     a whole server of this test's own, to be killed and restarted
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
import pytest_asyncio
from hypothesis import settings

from bridge.demo.postgres import Postgres, find_binaries
from bridge.errors import DatabaseError
from tests.support import (
    External,
    Server,
    browser,
    connect,
    fresh_database,
    in_memory,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser

    from bridge.demo.postgres import Binaries

# Who was started in a shell's background ignores SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# ./dev test tests/unit --hypothesis-profile=long
# How long an example takes is up to what else the machine does.
settings.register_profile("plain", deadline=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
settings.load_profile("plain")

_SETTINGS = {"max_connections": "300", "max_wal_size": "256MB"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL to test with")
    serving_role = "bridges connect with what `rowcast migrate --roles` grants, and no more"
    parser.addoption("--as-serving-role", action="store_true", help=serving_role)


def pytest_configure(config: pytest.Config) -> None:
    serving.asked = config.getoption("--as-serving-role")


def pytest_report_header(config: pytest.Config) -> str:
    try:
        external = _external(config)
        found = f"DATABASE_URL, {external.version}" if external else _found(config)
        return f"server: {found}"
    except (DatabaseError, psycopg.Error) as error:
        return f"server: {error}"


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Iterator[Server]:
    if external := _external(pytestconfig):
        yield external
        return
    with _started(_found(pytestconfig)) as server:
        yield server


@pytest.fixture(scope="session")
def template() -> str:
    """The database that `database` copies; a directory of tests may put one of its own here."""
    return "template0"


@pytest.fixture
def database(server: Server, template: str) -> Iterator[str]:
    yield from fresh_database(server, template)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with connect(database) as connection:
        yield connection


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with connect(database) as connection:
        yield connection


@pytest.fixture
def binaries(pytestconfig: pytest.Config) -> Binaries:
    return _found(pytestconfig)


@pytest.fixture
def postgres(binaries: Binaries) -> Iterator[Postgres]:
    with _started(binaries) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = browser.find()
    if program is None:
        pytest.skip("no Chromium found; $CHROME may name one")
    async with browser.started(program) as chromium:
        yield chromium


def _started(binaries: Binaries) -> Postgres:
    with in_memory():
        return Postgres.start(binaries=binaries, settings=_SETTINGS)


def _external(config: pytest.Config) -> External | None:
    url = os.environ.get("DATABASE_URL")
    return External(url) if url and not config.getoption("--pg") else None


def _found(config: pytest.Config) -> Binaries:
    return find_binaries(config.getoption("--pg"))
