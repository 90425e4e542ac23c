"""The suite as the role that serves: `./dev test --as-serving-role`.

Bridges in the tests' process, and `serve` and `check` where tests run them, then connect as a role
that has what `migrate --roles` prints and nothing else. The tests' own sessions and the other
commands stay the owner's: `migrate` and `revision` have to, and `init` and `types` come before
there is a serving role. So does what is served before the first migration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bridge import migrate
from bridge.errors import BridgeError
from tests.support import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config import Config
    from bridge.pipeline import Bridge

ROLE = "rowcast_tests_serving"

COMMANDS = ("serve", "check")
"""What the serving role runs; the others are the owner's, or log in to no database."""

asked = False
"""Whether --as-serving-role was given."""


def lent(config: Config) -> Config:
    """The config to serve by. Where it names a role of its own, or no database, it is as it was."""
    if not asked or not _owned(config):
        return config
    try:
        migrate.grant(config, ROLE, progress=lambda _line: None)
    except BridgeError:
        return config  # this test is about a config that fits no database
    return replace(config, database=_as_role(config.database), listen=_as_role(config.listen))


def lending(bridge: Bridge) -> None:
    """Have configs that are read later lent as well."""
    reload = bridge.reload

    def reload_lent(load: Callable[[], Config]) -> None:
        reload(lambda: lent(load()))

    if asked:
        bridge.reload = reload_lent  # type: ignore[method-assign]


def _owned(config: Config) -> bool:
    """Whether it says nothing of roles; the role is there then."""
    try:
        with connect(config.database) as session:
            found = session.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
            if found.fetchone() != (True,):
                return False
            if not session.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
            return True
    except psycopg.Error:
        return False


def _as_role(conninfo: str) -> str:
    return make_conninfo(**(conninfo_to_dict(conninfo) | {"user": ROLE}))
