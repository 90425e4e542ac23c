"""The session that does what a `Pacer` commands: asks for the lock, lets go of it, looks.

The rules:

- One session, opened when first needed, closed when nobody follows any more. It may be lost
  at any time, also without a word: what it is told to do must be answered within `PATIENCE`.
- Announcement and request are one message, so that nothing of ours can come between them.
- The request is given up after `WAIT`, and made again: the wait has a snapshot, which keeps
  VACUUM from its work, and nothing else ends the wait of one who is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bridge import storage
from bridge.backoff import Backoff
from bridge.errors import DatabaseError
from bridge.pacer import HELD, Command, Look, Pacer, State
from bridge.session import LET_US_GO, Session, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.changes import Ring
    from bridge.pacer import Held, Tempo

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for an answer, after which the session counts as lost."""

WAIT = 5
"""Seconds after which the server gives up waiting for the lock."""

_FAILURES = (psycopg.Error, DatabaseError, OSError, TimeoutError)

_GIVE_UP = sql.SQL(f"SET lock_timeout = '{WAIT}s'; SET statement_timeout = 0")
_STAY = sql.SQL("SET idle_session_timeout = 0")

# Who writes to the store keeps its lock until what was written is visible or gone.
_LOOK = """
SELECT json_build_array(
    coalesce(bool_or(l.locktype = 'advisory'), false),
    coalesce(json_agg(DISTINCT l.virtualtransaction) FILTER (WHERE l.locktype = 'relation'), '[]'))
FROM pg_locks AS l
WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.pid IS DISTINCT FROM pg_backend_pid() AND (
    l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.objsubid = 1
      AND (l.classid::bigint << 32) | l.objid::bigint = {key}
    OR l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
      AND l.relation = to_regclass({store}))
"""
_LET_GO = "SELECT pg_advisory_unlock_all();"
_TELL = "NOTIFY {channel}, {told}"
_LOCK = "BEGIN; NOTIFY {channel}, {asks}; COMMIT; SELECT pg_advisory_lock({key})"


class Pacing:
    """For one bridge and the store `changes`. `on_change` is called when the time of the next
    read may have changed; it must not wait. Methods other than `run` do not wait either."""

    def __init__(
        self,
        conninfo: str,
        schema: str,
        *,
        tempo: Tempo | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`conninfo` must lead to a session of its own. Raises `DatabaseError`."""
        self._target = Target(conninfo)
        self.on_change = on_change
        self.pacer = Pacer(tempo)
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._rung = ""  # by which transaction, last
        self._until = -math.inf  # when its sleep ends by itself, if it sleeps
        parts = {
            "key": storage.pace(schema, "changes"),
            "store": sql.Literal(storage.relation(schema, "changes").as_string(None)),
            "channel": sql.Identifier(schema),
            "told": sql.Literal(json.dumps({"ring": "changes", "by": self._name})),
            "asks": sql.Literal(json.dumps({"ring": "changes", "asks": self._name})),
        }
        self._look, self._tell, self._lock = (
            sql.SQL(text).format(**parts) for text in (_LOOK, _TELL, _LOCK)
        )
        self._let_go = sql.SQL(_LET_GO) + self._look

    @property
    def leading(self) -> bool:
        """Whether writers do not ring because of us."""
        return self.pacer.state is State.LEADING

    # What happens to durable tables' changes here.

    def follow(self) -> None:
        self.pacer.follow(time.monotonic())
        self._changed()

    def leave(self) -> None:
        self.pacer.leave()
        self._changed()

    def ring(self, ring: Ring) -> None:
        now = time.monotonic()
        if ring.asks:
            self.pacer.told(now, asks=True)  # by us, too: a late one is of a session we lost
        elif not ring.by:
            # A transaction rings for each key that it names, and is one.
            if not ring.xid or ring.xid != self._rung:
                self.pacer.ring(now)
            self._rung = ring.xid
        elif ring.by != self._name:
            self.pacer.told(now, asks=False)
        self._changed()

    def read(self, began: float, *, found: bool) -> None:
        """All that was there at `began`, by `time.monotonic`, has been read."""
        self.pacer.read(began, time.monotonic(), found=found)
        self._changed()

    def next_read(self) -> float:
        """Seconds until it is time to read, rung for or not; may be infinite."""
        now = time.monotonic()
        return max(0.0, self.pacer.next_read(now) - now)

    def _changed(self) -> None:
        """Most of what happens changes nothing, and then nobody is woken."""
        if self.pacer.due() < self._until or not self.pacer.followed:
            self._wake.set()

    # The session.

    async def run(self) -> None:
        """For ever; what fails is tried again."""
        backoff = Backoff()
        while True:
            try:
                await self._serve(backoff)
            except _FAILURES as error:
                log.debug("pacing begins anew", extra={"reason": self._target.describe(error)})
                self.pacer.lost(time.monotonic())
                self.on_change()
                await asyncio.sleep(backoff.delay())

    async def _serve(self, backoff: Backoff) -> None:
        """One session, while it is needed."""
        while not self._due():
            await self._sleep()
        with closing(await Session.connect(self._target)) as session:
            await self._prepare(session)
            backoff.reset()
            while self._due() or self.pacer.followed:
                if command := self.pacer.take(time.monotonic()):
                    self.pacer.answered(await self._obey(session, command), time.monotonic())
                    self.on_change()
                else:
                    await self._sleep()

    def _due(self) -> bool:
        return self.pacer.due() <= time.monotonic()

    async def _sleep(self) -> None:
        """Until there is a command, or something happens."""
        self._until = self.pacer.due()
        seconds = self._until - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._wake.wait()
        self._until = -math.inf
        self._wake.clear()

    async def _prepare(self, session: Session) -> None:
        async with asyncio.timeout(PATIENCE):
            await session.execute(_GIVE_UP)
            for statement in (LET_US_GO, _STAY):
                with suppress(psycopg.DatabaseError):  # not every server has every setting
                    await session.execute(statement)

    async def _obey(self, session: Session, command: Command) -> Look | Held | None:
        if command is Command.ASK:
            return await self._ask(session)
        if command is Command.LOOK:
            return await self._seen(session, self._look)
        if command is Command.LET_GO:
            return await self._seen(session, self._let_go)
        async with asyncio.timeout(PATIENCE):
            await session.execute(self._tell)
        return None

    async def _ask(self, session: Session) -> Look | Held:
        look = await self._seen(session, self._look)
        if look.hidden or not self.pacer.followed:
            return look
        try:
            async with asyncio.timeout(WAIT + PATIENCE):
                await session.execute(self._lock)
        except psycopg.errors.LockNotAvailable:
            return await self._seen(session, self._look)
        return HELD

    async def _seen(self, session: Session, statement: sql.Composed) -> Look:
        async with asyncio.timeout(PATIENCE):
            hidden, writers = json.loads(await session.execute(statement) or "[]")
        return Look(hidden, frozenset(writers))
