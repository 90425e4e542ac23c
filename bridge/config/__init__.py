"""What the operator asked for: the config file as frozen values.

Three rules. A config that exists is valid as far as the file alone can tell; whether
the database has what it names is the catalog's business. Every problem of a file is
reported at once, each with its place. And no password is ever shown: not in a repr,
not in a problem, whose text also names an environment variable instead of its value.

Naming a type imports little; pydantic, PyYAML and psycopg come with the first `load`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bridge.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.auth import AuthConfig, RlsConfig
    from bridge.topics import Template

Step: TypeAlias = str | int
"""One step into the file: a key of a mapping, or an index of a list."""

Place: TypeAlias = tuple[int, int]
"""Line and column, both counted from 1."""

EVENTS = "events"
"""The public name of the table of published events."""


@dataclass(frozen=True)
class AuditConfig:
    """Columns whose values are written down too; None is all of them."""

    values: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class TableConfig:
    """One entry of `tables`. Durations are seconds, with the file's defaults filled in.

    `table` is (schema, relation) exactly as in the catalog; no schema means the search
    path. None for `key`, `topics` or `columns` means the default that the catalog gives:
    the primary key, `[name, name/{key…}]`, every column. `refreshes` is a public name, and
    `through` has own columns → its key columns; None is the single foreign key to it.
    """

    name: str
    table: tuple[str | None, str]
    key: tuple[str, ...] | None = None
    topics: tuple[Template, ...] | None = None
    columns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    document: tuple[str | None, str] | None = None
    refreshes: str | None = None
    through: Mapping[str, str] | None = None
    where: str | None = None
    operations: tuple[str, ...] = ("insert", "update", "delete")
    changed: tuple[str, ...] | None = None
    trigger: str = "statement"
    mode: str = "state"
    position: str | None = None
    durable: bool = False
    audit: AuditConfig | None = None
    debounce: float = 0.1
    max_wait: float = 1.0
    leading: bool = True
    line: int = 0

    @property
    def served(self) -> bool:
        """Whether it has topics; a table that `refreshes` another needs none."""
        return self.refreshes is None or self.topics is not None


@dataclass(frozen=True)
class TlsConfig:
    """Paths of a certificate, with those that vouch for it, and of its key; both in PEM."""

    cert: str
    key: str


@dataclass(frozen=True)
class ServerConfig:
    """Where the bridge listens, and for whom. `drain` is seconds."""

    host: str = "127.0.0.1"
    port: int = 8765
    allowed_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    inspector: bool = False
    tls: TlsConfig | None = None
    drain: float = 20.0
    workers: int = 1


@dataclass(frozen=True)
class LimitsConfig:
    """What one instance takes on. `message`, `headers` and `row` are bytes; rates are per second.

    `subscriptions` and `command_rate` are per connection; `handshake` and `unauthenticated`
    are seconds.
    """

    connections: int = 10_000
    user_connections: int = 50
    address_rate: int = 1000
    subscriptions: int = 200
    command_rate: int = 100
    message: int = 65_536
    headers: int = 16_384
    snapshot_rows: int = 10_000
    row: int = 2**20
    handshake: float = 10.0
    unauthenticated: float = 10.0


@dataclass(frozen=True)
class Config:
    """The whole file. `database` and `listen` hold passwords, so no repr has them.

    With `events`, the events' own table is among the `tables`, as `EVENTS`.

    `definer` is the role that owns what writes to `schema`; None is whoever migrates.
    `reconcile` is seconds; 0 is never. `retention` and `audit_retention` are seconds,
    `retention_size` is bytes. `auth` as text is `none`: everybody may see everything.
    """

    file: str
    database: str = field(repr=False)
    listen: str = field(repr=False)
    schema: str = "rowcast"
    tables: Mapping[str, TableConfig] = field(default_factory=dict)
    auth: AuthConfig | str | None = None
    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    events: bool = False
    reconcile: float = 60.0
    retention: float = 86_400.0
    retention_size: int = 2**30
    audit_retention: float = 90 * 86_400.0
    definer: str | None = None
    places: Mapping[tuple[Step, ...], Place] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def guard(self) -> AuthConfig | None:
        """Who may see what; None where nobody is asked."""
        return None if isinstance(self.auth, str) else self.auth

    @property
    def rls(self) -> RlsConfig | None:
        """Whom states are read as, where PostgreSQL's policies decide."""
        return self.guard.rls if self.guard else None

    @property
    def exposed(self) -> str | None:
        """Why this config would serve strangers unasked; None if it would not."""
        from bridge.config.values import is_loopback

        if self.auth is not None or is_loopback(self.server.host):
            return None
        return (
            f"{self.server.host!r} is reachable from other machines, and whoever connects may"
            " read everything that is watched; say in `auth` who may, or write `auth: none` if"
            " everybody is meant"
        )

    def place(self, *path: Step) -> Place:
        """Where the file says this; what it leaves out is at the nearest value around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def problem(self, message: str, *path: Step) -> Problem:
        """What the catalog found wrong with the value at `path`, for a `CatalogError`."""
        line, column = self.place(*path)
        return Problem(dotted(path), message, self.file, line, column)


def dotted(path: tuple[Step, ...]) -> str:
    """`("tables", "orders", "key", 1)` → `tables.orders.key[1]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def load(path: Path | str, env: Mapping[str, str] = os.environ) -> Config:
    """Reads a config file. Raises `ConfigError` with every problem it has."""
    from bridge.config.reader import read
    from bridge.config.source import text_of

    return read(text_of(Path(path)), str(path), env)


def loads(text: str, *, file: str = "config.yaml", env: Mapping[str, str] = os.environ) -> Config:
    """The same for text; `file` is the name its problems are reported under."""
    from bridge.config.reader import read

    return read(text, file, env)
