"""What a transaction that reads states begins with: settings, and whose eyes it reads with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from psycopg import sql

    from bridge.config.auth import RlsConfig
    from bridge.viewer import Viewer

_AS = "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config($2, $3, true)"


@dataclass(frozen=True)
class Opening:
    """`settings` are what every transaction has to begin with; `rls` is as whom viewers read."""

    settings: sql.Composed | None = None
    rls: RlsConfig | None = None
    viewer: Viewer = None

    def __bool__(self) -> bool:
        """Whether there is anything to be said before a read."""
        return self.settings is not None or self.viewer is not None

    def seen_by(self, viewer: Viewer) -> Opening:
        return replace(self, viewer=viewer)

    def check(self) -> None:
        """Before states are read: without a viewer, where policies decide, or with one whom
        nobody would ask about, a read would show everything."""
        if (self.rls is None) is not (self.viewer is None):
            raise RuntimeError("states are to be read, and it is not said who may see them")

    async def say(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """At the beginning of a transaction."""
        if self.settings is not None:
            await connection.execute(self.settings)
        if self.viewer is not None and self.rls is not None:
            values = [self.rls.role, self.rls.claims, self.viewer]
            await psycopg.AsyncRawCursor(connection).execute(_AS, values)
