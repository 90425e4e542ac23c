"""One libpq session that lets go at once: short statements, and the notifications it gets.

psycopg does the connecting. From there on libpq is driven directly, for two reasons. A
cancelled psycopg query first asks the server to cancel it, which takes ten seconds where
the link is frozen; here a cancelled wait ends, and `close` waits for nobody. And all that
one wake-up of the socket brings is handed over as one list.

The rules: one task at a time waits on a session. Nothing reads the socket while nobody
waits, so a session that listens must be drained. The socket is taken off the event loop
before libpq can close it: a descriptor that is reused would wake the wrong reader.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import traceback
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result

from bridge.errors import DatabaseError
from bridge.link import heeding, keepalives

if TYPE_CHECKING:
    from collections.abc import Callable

# Makes the server drop us when we are gone: until then, its NOTIFY queue cannot shrink, and
# a lock of ours stays.
LET_US_GO = sql.SQL(
    "SET tcp_user_timeout = 6000; SET tcp_keepalives_idle = 5;"
    " SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
    " SET idle_in_transaction_session_timeout = '10s'"
)


PROBE = b'{"probe":'
"""What the payload of every probe begins with, of whichever instance."""


class Target:
    """Where to connect, and how to speak of it without giving a secret away."""

    def __init__(self, conninfo: str, timeout: float = 5.0, name: str = "rowcast") -> None:
        """`timeout` in seconds, for each host. Raises `DatabaseError`."""
        try:
            given = conninfo_to_dict(conninfo)
            self._secrets = _secrets(conninfo)
        except psycopg.Error:  # its text quotes the string, password and all
            raise DatabaseError(
                "the connection string cannot be read;"
                " write postgresql://user:password@host:port/database, percent-encoded"
            ) from None
        defaults = {"application_name": name, "connect_timeout": max(2, math.ceil(timeout))}
        self.params: dict[str, Any] = {
            **keepalives(conninfo),
            **defaults,
            **given,
            "client_encoding": "utf8",
        }

    def __str__(self) -> str:
        """`host:port/database`."""
        unset = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
        host, port, database = (
            self.params.get(name) or (unset.get(name) or b"").decode()
            for name in ("host", "port", "dbname")
        )
        return f"{host or 'local socket'}:{port}/{database}"

    def describe(self, error: BaseException) -> str:
        """The error as one line, with the place in front and without secrets."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{self}: {text}"


def _secrets(conninfo: str) -> list[str]:
    """The values of options that libpq itself marks as not to be shown."""
    options = pq.Conninfo.parse(conninfo.encode())
    return [option.val.decode() for option in options if option.val and option.dispchar == b"*"]


class Session:
    """Made by `connect`, ended by `close`. Errors are `psycopg.Error` or `DatabaseError`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._socket = connection.pgconn.socket
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._arrived: list[bytes] = []
        self._expected: bytes | None = None
        self._echo: asyncio.Future[None] | None = None
        self.heard = False
        """Whether an expected payload ever arrived."""
        self.arrived = -math.inf
        """When anything but a probe arrived last, by the clock of the loop."""

    @classmethod
    async def connect(cls, target: Target) -> Self:
        made: psycopg.AsyncConnection[Any] | None = None
        try:
            with heeding():
                made = await psycopg.AsyncConnection.connect(autocommit=True, **target.params)
                return cls(made)
        except BaseException as error:
            if made is not None:
                made.pgconn.finish()
            # An attempt that is cancelled closes its socket when it is collected, and the
            # traceback would keep it for as long as anyone keeps the error.
            traceback.clear_frames(error.__traceback__)
            raise

    def line(self) -> socket.socket:
        """This connection by another descriptor, which is the caller's to close."""
        return socket.socket(fileno=os.dup(self._socket))

    async def execute(self, statement: sql.Composable) -> str | None:
        """Run a short statement, or several; the first value that the last returns, as text."""
        self._pgconn.send_query(statement.as_bytes(self._connection))
        self._pgconn.flush()  # so short that the socket's buffer always takes it whole
        value: str | None = None
        error: psycopg.Error | None = None
        while (result := await self._result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = error or error_from_result(result)
            value = _first_value(result)
        self._collect()
        if error is not None:
            raise error
        return value

    async def arrivals(self) -> list[bytes]:
        """Payloads that arrived since, in order: what one wake-up brought, perhaps nothing."""
        if not self._arrived:
            await self._readable()
            self._pump()
        arrived, self._arrived = self._arrived, []
        return arrived

    def expect(self, payload: bytes) -> asyncio.Future[None]:
        """Done when this payload has arrived; it is not among the `arrivals` then."""
        self._expected = payload
        self._echo = asyncio.get_running_loop().create_future()
        return self._echo

    def look(self) -> bool:
        """Whether what is expected is here.

        The socket is read first: a loop or a reader that was held up is no dead link.
        """
        self._wake()
        try:
            self._pump()
        except psycopg.Error as error:
            self.fail(error)
        return self._echo is None or self._echo.done()

    def fail(self, failure: Exception) -> None:
        """Make whoever waits on this session, now or later, raise this; the first counts."""
        self._failure = self._failure or failure
        self._wake()

    def close(self) -> None:
        """End the session without waiting for the server, or for a link that is frozen."""
        self.fail(DatabaseError("the session is closed"))
        self._pgconn.finish()

    async def _result(self) -> pq.abc.PGresult | None:
        while self._pgconn.is_busy():
            await self._readable()
            self._pgconn.consume_input()
        return self._pgconn.get_result()

    async def _readable(self) -> None:
        if self._failure is None and self._pgconn.status != pq.ConnStatus.OK:
            # libpq has closed the socket itself, and its number may be somebody else's by now.
            self.fail(psycopg.OperationalError("the connection is lost"))
        if self._failure is None:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            loop.add_reader(self._socket, self._wake)
            try:
                await self._waiter
            finally:
                self._wake()
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        """End the wait. The reader goes with it: unread data would wake the loop for ever."""
        if self._waiter is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        if not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None

    def _pump(self) -> None:
        self._pgconn.consume_input()
        self._collect()

    def _collect(self) -> None:
        before = len(self._arrived)
        while notification := self._pgconn.notifies():
            if notification.extra == self._expected:
                self._hear()
            else:
                self._arrived.append(notification.extra)
        # Others' probes come for ever, also where ours go to another server.
        if not all(payload.startswith(PROBE) for payload in self._arrived[before:]):
            self.arrived = asyncio.get_running_loop().time()

    def _hear(self) -> None:
        self.heard, self._expected = True, None
        if self._echo is not None and not self._echo.done():
            self._echo.set_result(None)


class Patience:
    """Fails a session that does not get what it expects; `over` ends that. Times in seconds.

    That is when nothing has arrived for `quiet`: who has much to read hears a probe behind all
    that was sent before it, and what arrives shows that the link is alive. It does not show
    that a probe can arrive, so `limit` is how long it is taken for a sign.

    A timer and not `asyncio.timeout`: the session must fail in time even if the probe
    takes its time to be cancelled.
    """

    def __init__(
        self, session: Session, quiet: float, limit: float, failure: Callable[[float], Exception]
    ) -> None:
        """`failure` gets how long the session waited for a sign."""
        self._session = session
        self._quiet = quiet
        self._limit = max(quiet, limit)
        self._failure = failure
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer = self._loop.call_later(quiet, self._look)

    def _look(self) -> None:
        if self._session.look():
            return
        now, last = self._loop.time(), self._began + self._limit
        due = min(max(self._began, self._session.arrived) + self._quiet, last)
        if now >= due:
            self._session.fail(self._failure(self._limit if now >= last else self._quiet))
        else:
            self._timer = self._loop.call_at(due, self._look)

    def over(self) -> None:
        self._timer.cancel()


def _first_value(result: pq.abc.PGresult) -> str | None:
    value = result.get_value(0, 0) if result.ntuples and result.nfields else None
    return None if value is None else value.decode()
