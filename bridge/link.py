"""The link to PostgreSQL may die without a word: nothing here waits for an answer for ever.

Three things notice. The kernel, for what was sent and is not acknowledged, unless a proxy
between acknowledges it. The listener's probes, for its own session (see `listener`). For
the sessions that read, a limit on each wait: the server would have given up a statement
before (`pool.STATEMENT_TIMEOUT`), so who hears nothing for longer has nobody at the other end.

A wait is ended by shutting the socket down, so that libpq finds it closed and says so.

Who is cancelled while he waits here, for an answer or for a connection, is cancelled: see
`heeding`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.abc import PQGen

T = TypeVar("T")

PATIENCE = 7.0
"""Seconds without an answer after which a link is taken for dead."""

BRIEF = 30.0
"""Seconds for all that is asked of the catalog at one time."""

_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 6000,
}


def keepalives(conninfo: str) -> dict[str, Any]:
    """What makes the kernel notice a dead peer, but for what the operator has set."""
    return {name: _KEEPALIVES[name] for name in _KEEPALIVES.keys() - conninfo_to_dict(conninfo)}


@contextmanager
def heeding() -> Iterator[None]:
    """Raise CancelledError if this task was cancelled within, whatever came of it.

    Before Python 3.12 `asyncio.wait_for` forgets a cancellation that comes together with
    what it waits for, and psycopg and its pool wait with it. A task that reads for ever
    would then read on, and the group that waits for its end wait for ever.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task.cancelling() > before:
        raise asyncio.CancelledError


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    try:
        line = socket.socket(fileno=os.dup(connection.pgconn.socket))
    except (OSError, psycopg.Error):  # closed already
        return
    with line, suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


class Connection(psycopg.AsyncConnection[Any]):
    """One that reads: what hears nothing for `PATIENCE` fails, and what is cancelled ends at once.

    psycopg would ask the server to cancel the statement first, which takes ten seconds
    where nobody answers. Reads are short enough to let the server finish them in vain.
    """

    async def wait(self, gen: PQGen[T], interval: float = 0.1, *_: Any, **__: Any) -> T:
        timer = asyncio.get_running_loop().call_later(PATIENCE, hang_up, self)
        try:
            with heeding():
                return await waiting.wait_async(gen, self.pgconn.socket, interval=interval)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
        finally:
            timer.cancel()


@contextmanager
def brief(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A session for a thread that looks something up; what takes `BRIEF` seconds fails."""
    with psycopg.connect(
        conninfo,
        autocommit=True,
        connect_timeout=5,
        application_name="rowcast",
        **keepalives(conninfo),
    ) as connection:
        timer = threading.Timer(BRIEF, hang_up, (connection,))
        timer.daemon = True
        timer.start()
        try:
            yield connection
        finally:
            timer.cancel()


async def briefly(conninfo: str, look: Callable[[psycopg.Connection[Any]], T]) -> T:
    """What `look` finds out in such a session, in a thread.

    Cancelled, the session is hung up: a process that ends waits for its threads.
    """
    over = threading.Event()
    open_: list[psycopg.Connection[Any]] = []

    def work() -> T:
        with brief(conninfo) as connection:
            open_.append(connection)
            if over.is_set():
                hang_up(connection)
            return look(connection)

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        over.set()
        for connection in open_:
            hang_up(connection)
        raise
