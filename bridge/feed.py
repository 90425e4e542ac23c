"""Durable tables' changes, as they come: what a listener is for the others.

The rules:

- It reads on from the moment up to which it has read, whenever a writer rings, and when
  writers may not ring (see `pacer`) by itself; at most every `PACE`.
- Nobody follows a durable table: it reads nothing, and forgets where it was. Who reads a
  topic first asks it to be `begun`, so that no change falls between the two.
- What cannot be read on from (too much, pruned, another history) is a Gap.
- A ring may name what was written. Rows that are named are read with what was kept, by the same
  statement: so they are as new as that, and it costs one read where there would be two.
- Everything is passed on with its mark: from where it can be read again. As long as a mark
  is not behind all that was published, no cursor goes past it.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from bridge.changelog import changes
from bridge.changes import Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from bridge.changelog import About, Changelog, Kept
    from bridge.changes import Change, Mark, Ring
    from bridge.cursor import Moment
    from bridge.pacing import Pacing
    from bridge.parameters import Ahead

PACE = 0.02
"""Seconds from one read to the next."""

AHEAD = 16
"""Changes that are remembered of what rings named; the rows of others are read in their time."""

PROMPT = 0.25
"""Seconds that a read may take with rows that are read ahead, before it is made without …"""

PAUSE = 10.0
"""… for so long: the server may still wait for what that read waited for."""

POLL = 0.1
"""Seconds between reads where writers do not ring."""


class Feed:
    """One for all durable tables, given by the widths of their payloads.

    `take` gets changes, `gap` the reason why there may be others (of one table, or of all),
    and `followed` tells whether anybody cares. `ahead` is asked which rows to read of what rings
    named, and `foresee` gets them, after the changes. `mark` is up to where everything was taken.
    """

    def __init__(
        self,
        changelog: Changelog,
        widths: dict[str, tuple[int, int]],
        pacing: Pacing,
        *,
        take: Callable[[list[Change], Mark], None],
        gap: Callable[[Gap, Mark], None],
        followed: Callable[[], bool],
        ahead: Callable[[Sequence[Change]], Ahead | None] = lambda _: None,
        foresee: Callable[[Ahead, str], None] = lambda _ahead, _rows: None,
    ) -> None:
        self._changelog = changelog
        self._widths = widths
        self._pacing = pacing
        pacing.on_change = self.ring
        self._take = take
        self._gap = gap
        self._followed = followed
        self._ahead = ahead
        self._foresee = foresee
        self._named: list[Change] = []
        self._not_before = -math.inf  # is anything read ahead
        self._rung = asyncio.Event()
        self._turn = asyncio.Lock()
        self._number = 0
        self._due: float | None = None  # since when there may be something to read
        self._turns: int | None = None  # up to which nothing was pruned that was not read
        self.about: About | None = None
        self.mark: Mark | None = None

    @property
    def tables(self) -> Collection[str]:
        return self._widths.keys()

    @property
    def lag(self) -> float:
        """Seconds for which there may have been something to read, and nothing was."""
        return 0.0 if self._due is None else time.monotonic() - self._due

    def heard(self, ring: Ring) -> None:
        """Somebody wrote, or another instance has something to say of it."""
        self._pacing.ring(ring)
        self._named = [*self._named, *ring.changes[:AHEAD]][:AHEAD]
        self.ring()

    def ring(self) -> None:
        """It is time to read, or to think anew of when."""
        self._rung.set()

    def forget(self) -> None:
        """The database may be another one now: the next read begins anew."""
        self.about = self.mark = self._turns = None
        self._named = []
        self._pacing.leave()

    async def begun(self) -> About:
        """Everything that is written from here on will be taken. Raises what reading does."""
        async with self._turn:
            if self.about is None or self.mark is None:
                await self._changelog.begin()
                self.about = await self._changelog.about()
                self._note(self.about.now)
                self._pacing.follow()
                self.ring()
            return self.about

    async def wait(self) -> None:
        """Until there may be something to read."""
        polled = self.about is not None and not self.about.rings
        seconds = min(self._pacing.next_read(), POLL if polled else math.inf)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._rung.wait()
        self._due = self._due or time.monotonic()

    async def read(self) -> None:
        """Take what there is. Raises what reading does; nothing is lost then."""
        self._rung.clear()
        async with self._turn:
            if not self._followed():
                self.forget()
            elif self.mark is not None:
                began = time.monotonic()
                found = await self._read_on(self.mark)
                self._pacing.read(began, found=found)
        self._due = None

    async def _read_on(self, mark: Mark) -> bool:
        """Whether there was anything."""
        named, self._named = self._named, []
        ahead = self._ahead(named) if named and time.monotonic() >= self._not_before else None
        kept = await self._kept(mark[1], ahead)
        about = self._known(kept) or await self._changelog.about()
        if self.mark != mark:  # forgotten meanwhile
            return False
        if kept is None or not self._same(about) or not about.covers(mark[1]):
            self.about = about
            self._note(about.now)
            self._gap(Gap(None, "kept changes cannot be read on"), mark)
            return True
        found, gaps = changes(kept.payloads, self._widths)
        self._note(kept.moment)
        self._turns = kept.turns
        if found:
            self._take(found, mark)
        for gap in gaps:
            self._gap(gap, mark)
        if ahead is not None and kept.rows is not None:
            self._foresee(ahead, kept.rows)
        return bool(kept.payloads)

    async def _kept(self, since: Moment, ahead: Ahead | None) -> Kept | None:
        """What rows are read ahead must keep no other table's changes waiting: any role can name
        keys that are none, a row may be beyond JSON, and its table locked."""
        if ahead is not None:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(PROMPT):
                    return await self._changelog.read(since, self.tables, ahead)
            self._not_before = time.monotonic() + PAUSE
        return await self._changelog.read(since, self.tables)

    def _known(self, kept: Kept | None) -> About | None:
        """The history, where it is the one that we know and nothing was pruned of it since."""
        if kept is None or self.about is None:
            return None
        same = kept.sign == self.about.sign and kept.turns == self._turns
        return self.about if same else None

    def _same(self, about: About) -> bool:
        return self.about is not None and about.identity == self.about.identity

    def _note(self, moment: Moment) -> None:
        self._number += 1
        self.mark = self._number, moment
