"""LISTEN that knows when it is deaf: an endless iterator of changes, gaps and losses.

The rules:

- `Gap(None, …)` comes after every (re)connect, when LISTEN is committed, a probe has
  come back through it and `prepare` is done. Whoever reads the database after that Gap
  and applies what follows it misses nothing.
- A probe comes behind all that was notified before it. While that still arrives, nothing
  is lost yet; a link is taken for dead when nothing arrives any more.
- What arrived before that Gap is covered by it; some is dropped, and some follows it.
- `Lost` comes whenever that is no longer proven: at an error, and when a probe did not
  come back in time. LISTEN succeeds through a transaction pooler and hears nothing, and
  a frozen link raises nothing: only a notification to oneself finds either.
- Reading waits for nobody but the one who iterates, who must wait for nobody either: a
  listener that does not read fills the NOTIFY queue of the whole cluster. Where the
  event loop hangs, a thread gives the session up.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import psycopg
from psycopg import sql

from bridge import status
from bridge.backoff import Backoff
from bridge.changes import Change, Gap, Lost, Malformed, Ring, parse
from bridge.errors import DatabaseError
from bridge.rates import Gathering
from bridge.session import LET_US_GO, PROBE, Patience, Session, Target
from bridge.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

Item: TypeAlias = list[Change] | Gap | Ring | Lost
"""Changes that arrived together, or why there may be others, or where they are."""

_log = logging.getLogger(__name__)
_LOG_INTERVAL = 60.0
_FAILURES = (DatabaseError, psycopg.Error, OSError)
_UNHEARD = 30.0
"""Seconds at most until who never heard a probe is told so, whatever else arrives."""

_RATE, _LOOKS, _MANY = 200.0, 20, 64
"""To wake up for each of thousands of notifications a second takes half a processor, which is the
application's where PostgreSQL runs on the same machine."""

_IN_RECOVERY = sql.SQL("SELECT pg_is_in_recovery()")

# There PostgreSQL converts nothing, and a byte that is no UTF-8 would end our session.
_AS_IT_IS = sql.SQL(
    "SELECT set_config('client_encoding', 'SQL_ASCII', false)"
    " WHERE current_setting('server_encoding') = 'SQL_ASCII'"
)


async def _nothing() -> None:
    pass


class Notifier:
    """Sends payloads to a channel through a session of its own, opened when first needed.

    For the listener's probes: they must not wait for a pool that is busy, and end at once
    when cancelled, even where the link is frozen.
    """

    def __init__(self, conninfo: str, channel: str) -> None:
        self._target = Target(conninfo)
        self._channel = sql.Identifier(channel)
        self._session: Session | None = None

    async def notify(self, payload: str) -> None:
        """Raises `psycopg.Error` or `DatabaseError`; the next call opens a new session."""
        statement = sql.SQL("NOTIFY {}, {}").format(self._channel, sql.Literal(payload))
        try:
            self._session = self._session or await Session.connect(self._target)
            await self._session.execute(statement)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class Listener:
    """One channel of one database. `notifications` and `malformed` count for the metrics."""

    def __init__(
        self,
        conninfo: str,
        channel: str,
        *,
        probe: Callable[[str], Awaitable[None]],
        widths: dict[str, tuple[int, int]],
        heartbeat: float = 5.0,
        timeout: float = 5.0,
        backlog: float = 300.0,
        prepare: Callable[[], Awaitable[None]] = _nothing,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        name: str = "rowcast",
        asked: Callable[[str], None] = lambda _to: None,
    ) -> None:
        """`conninfo` must lead to a session of its own on the primary; times in seconds.

        Within `timeout` a probe comes back, or anything else arrives, for at most `backlog`.

        `probe` sends its argument to the channel, by another connection to the same
        database, and `prepare` is awaited before each Gap; both must end promptly when
        cancelled. `widths` is for `changes.parse`; `name` is what the session goes by in
        `pg_stat_activity`. `asked` is called with whom to answer (see `status`), and must not
        wait. Raises `DatabaseError`.
        """
        self._target = Target(conninfo, timeout, name)
        self._listen = sql.SQL("LISTEN {}").format(sql.Identifier(channel))
        self._probe = probe
        self._widths = widths
        self._heartbeat = heartbeat
        self._timeout = timeout
        self._backlog = backlog
        self._prepare = prepare
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._clock = clock
        self._asked = asked
        self._quiet_until = -math.inf
        self.notifications = 0
        """Notifications that arrived, probes left out."""
        self.malformed = 0
        """Those among them that no trigger of the watched tables can have sent."""

    async def listen(self) -> AsyncGenerator[Item, None]:
        """Connect, and again whenever that is lost; ends only by `aclose`."""
        while True:
            try:
                async with self._listening() as session:
                    yield self._began()
                    gathering = Gathering(_RATE, _LOOKS, _MANY, self._clock())
                    while True:
                        payloads = await session.arrivals()
                        for item in self._items(payloads):
                            yield item
                        if pause := gathering.pause(len(payloads), self._clock()):
                            await asyncio.sleep(pause)
            except _FAILURES as error:
                yield self._lost(error)
            await self._sleep(self._backoff.delay())

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Session]:
        """A session that is proven to hear, and stays so or fails."""
        with closing(await Session.connect(self._target)) as session:
            async with self._within("LISTEN"):
                await self._refuse_standby(session)
                await session.execute(_AS_IT_IS)
                await session.execute(self._listen)
            async with self._beating(session):
                with Watchdog(session.line()):
                    while not session.heard:
                        await session.arrivals()
                    await self._settle(session)
                    yield session

    async def _refuse_standby(self, session: Session) -> None:
        if await session.execute(_IN_RECOVERY) == "t":
            raise DatabaseError(
                "this is a standby, where nothing can LISTEN; connect to the primary,"
                " or name all hosts and add target_session_attrs=read-write"
            )

    async def _settle(self, session: Session) -> None:
        """What has to wait for the proof: behind a pooler, SET would change others' sessions."""
        async with self._within("preparing to listen"):
            with suppress(psycopg.Error):  # not every platform has every setting
                await session.execute(LET_US_GO)
            await self._prepare()

    @asynccontextmanager
    async def _within(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise DatabaseError(f"{what} took longer than {self._timeout:g} s") from None

    @asynccontextmanager
    async def _beating(self, session: Session) -> AsyncIterator[None]:
        beat = asyncio.create_task(self._beat(session))
        try:
            yield
        finally:
            session.close()  # first: the server is rid of us, however long the probe takes
            beat.cancel()
            await asyncio.wait([beat])

    async def _beat(self, session: Session) -> None:
        try:
            while True:
                await self._prove(session)
                await asyncio.sleep(self._heartbeat)
        except Exception as error:  # whatever it is: what is not proven is lost
            session.fail(DatabaseError(f"the probe could not be sent: {error}"))

    async def _prove(self, session: Session) -> None:
        """Send a probe and wait until it is heard; past the time limit the session fails."""
        payload = f'{PROBE.decode()}"{secrets.token_hex(8)}"}}'
        echo = session.expect(payload.encode())
        heard = session.heard
        limit = self._backlog if heard else min(self._backlog, _UNHEARD)
        patience = Patience(session, self._timeout, limit, partial(self._deafness, heard))
        try:
            await self._probe(payload)
            await echo
        finally:
            patience.over()

    def _deafness(self, heard: bool, waited: float) -> DatabaseError:
        if heard:
            return DatabaseError(
                f"a probe did not come back within {waited:g} s: the link is dead or far behind"
            )
        return DatabaseError(
            f"LISTEN succeeded, but nothing of ours arrived within {waited:g} s:"
            " either a transaction pooler is between, or this is the wrong database;"
            " give `listen:` a direct connection to the database of `database:`"
        )

    def _items(self, payloads: list[bytes]) -> Iterator[Item]:
        changes: list[Change] = []
        for payload in payloads:
            parsed = self._parse(payload)
            if isinstance(parsed, Gap | Ring):
                if changes:
                    yield changes
                yield parsed
                changes = []
            else:
                changes += parsed
        if changes:
            yield changes

    def _parse(self, payload: bytes) -> list[Change] | Gap | Ring:
        if payload.startswith(PROBE):  # of another instance, or a question
            if (to := status.asked(payload)) is not None:
                self._asked(to)
            return []
        self.notifications += 1
        try:
            return parse(payload, self._widths)
        except Malformed:  # or bytes of a database without an encoding
            self.malformed += 1
            return []

    def _began(self) -> Gap:
        if self._quiet_until > -math.inf:
            _log.info("listening again", extra={"database": str(self._target)})
        self._quiet_until = -math.inf
        self._backoff.reset()
        return Gap(None, "began to listen")

    def _lost(self, error: Exception) -> Lost:
        reason = self._target.describe(error)
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + _LOG_INTERVAL
            _log.warning("not listening, trying again", extra={"reason": reason})
        return Lost(reason)
