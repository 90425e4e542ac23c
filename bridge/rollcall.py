"""Which instances there are, asked through the database that they all listen to.

Their listening sessions bear their names in `pg_stat_activity`, which shows names to every role;
then all are asked at once, and answer by themselves (see `presence`). It takes no table, no
rights but to connect, and no way to the instances, which may be behind a load balancer.
"""

from __future__ import annotations

import http.client
import secrets
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from bridge import inquiry, status
from bridge.errors import BridgeError, DatabaseError
from bridge.session import Target
from bridge.status import decode as decoded

if TYPE_CHECKING:
    from bridge.config import Config
    from bridge.status import Status

PATIENCE = 3.0
"""Seconds in which whoever is there answers; an instance answers twice a second at most."""

MOST = 100_000
"""Bytes of an answer by HTTP."""

_DATABASE = """
SELECT current_database(), current_setting('server_version'), pg_is_in_recovery(),
       pg_notification_queue_usage()
"""


class Found(NamedTuple):
    """An instance that listens: `connected` for so many seconds, from `address`, where our role
    may know that; `status` is None where it did not answer."""

    name: str
    address: str
    connected: float | None
    status: Status | None


class Roll(NamedTuple):
    """All of one config's. `queue` is the share of the cluster's NOTIFY queue in use."""

    database: str
    server: str
    queue: float
    instances: tuple[Found, ...]


def call(config: Config, patience: float = PATIENCE) -> Roll:
    """Raises DatabaseError."""
    target = Target(config.listen, name="rowcast status")
    try:
        with psycopg.connect(**target.params, autocommit=True) as connection:
            name, version, standby, queue = _row(connection)
            if standby:
                raise DatabaseError(
                    f"{target}: this is a standby, where nothing can LISTEN; name the primary"
                )
            found = inquiry.listening(connection, config.schema)
            answers = _ask(connection, config.schema, {one.name for one in found}, patience)
    except psycopg.Error as error:
        raise DatabaseError(target.describe(error)) from None
    instances = tuple(Found(*one, answers.get(one.name)) for one in found)
    return Roll(f"{name} at {target}", version, queue, instances)


def _row(connection: psycopg.Connection[Any]) -> Any:
    return connection.execute(_DATABASE).fetchone()


def _ask(
    connection: psycopg.Connection[Any], schema: str, names: set[str], patience: float
) -> dict[str, Status]:
    """What these instances answer in time."""
    to = secrets.token_hex(8)
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(status.channel(to))))
    connection.execute("SELECT pg_notify(%s, %s)", (schema, status.question(to)))
    answers: dict[str, Status] = {}
    end = time.monotonic() + patience
    while names - answers.keys() and (left := end - time.monotonic()) > 0:
        for notification in connection.notifies(timeout=left, stop_after=1):
            answer = decoded(notification.payload)
            if answer is not None and answer.instance in names:
                answers[answer.instance] = answer
    return answers


def fetch(url: str, token: str | None, patience: float = 10.0) -> Status:
    """What one instance says of itself by HTTP, which may be whether it is ready and nothing
    more. Raises BridgeError."""
    request = urllib.request.Request(f"{url.rstrip('/')}/readyz")  # noqa: S310
    if request.type not in ("http", "https"):
        raise BridgeError(f"{url}: not an address; write http://host:port")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with _opened(request, patience) as response:
            status = decoded(response.read(MOST).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        raise BridgeError(f"{url}: {getattr(error, 'reason', error)}") from None
    if status is None:
        raise BridgeError(f"{url}: no bridge answers there")
    return status


def _opened(request: urllib.request.Request, patience: float) -> Any:
    """503 is an answer, too."""
    try:
        return urllib.request.urlopen(request, timeout=patience)  # noqa: S310
    except urllib.error.HTTPError as error:
        return error
