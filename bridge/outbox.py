"""Writes mailboxes in slices of time, so that many subscribers do not hold up the event loop.

What they are told is in their mailboxes at once, so nothing can come between: a newer
message is behind it or takes its place, and who leaves takes it along. Only the writing is
cut, each mailbox's in one piece, in the order in which they were touched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from bridge.wire import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.mailbox import Mailbox
    from bridge.wire import News

log = logging.getLogger(__name__)

SLICE = 0.007
"""Seconds of writing after which others have their turn. What fits into the first costs least."""

AT_LEAST = 16
"""Mailboxes of a slice, and as many more each time that the clock says it is not over."""


class Outbox:
    """The mailboxes that are to be written. `written` is called for those that are `behind`.

    `later` makes the event loop call something after all else that waits; without it, all is
    written at once.
    """

    def __init__(
        self, written: Callable[[Mailbox], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._written = written
        self._clock = clock
        self._due: deque[Mailbox] = deque()
        self._until, self._begun = 0.0, False
        self.later: Callable[[Callable[[], None]], object] | None = None

    @property
    def writing(self) -> bool:
        """Whether there is a slice to come."""
        return bool(self._due)

    async def written(self) -> None:
        """Until none is to come. What changes meanwhile is then one read, and not many."""
        while self._due:  # noqa: ASYNC110  there is a slice in every turn
            await asyncio.sleep(0)

    def begin(self) -> None:
        """A slice begins, for `tell` and the `send` after it."""
        self._until, self._begun = self._clock() + SLICE, False

    def tell(self, mailboxes: Iterable[Mailbox], news: News) -> Iterator[Mailbox]:
        """Write it now to as many as the slice takes; it has to be put into the mailboxes of the
        others, which are returned, and sent with theirs.

        To go through all subscribers once, and not again to write, is worth a third of the whole.
        """
        others = iter(mailboxes)
        while not self._due and self._open() and (few := list(islice(others, AT_LEAST))):
            for mailbox in few:
                try:
                    mailbox.tell(news)
                except Exception:
                    self._give_up(mailbox)
        return others

    def send(self, mailboxes: Iterable[Mailbox]) -> None:
        """Write them, the first in this slice unless others wait already."""
        under_way = self.writing
        self._due.extend(mailboxes)
        if not under_way:
            self._write()

    def send_anew(self, mailboxes: Iterable[Mailbox]) -> None:
        """In a slice of its own."""
        self.begin()
        self.send(mailboxes)

    def _slice(self) -> None:
        self.begin()
        self._write()

    def _write(self) -> None:
        while self._due and self._open():
            for _ in range(min(AT_LEAST, len(self._due))):
                self._flush(self._due.popleft())
        if self._due and self.later is not None:
            self.later(self._make_way)

    def _make_way(self) -> None:
        # What came during a slice is seen at the beginning of the loop's next turn, and would be
        # behind another slice if that were in this turn already.
        if self.later is not None:
            self.later(self._slice)

    def _open(self) -> bool:
        """Whether the slice has room for `AT_LEAST`; it has once, however late it began."""
        if self._begun:
            return self.later is None or self._clock() < self._until
        self._begun = True
        return True

    def _flush(self, mailbox: Mailbox) -> None:
        try:
            mailbox.flush()
        except Exception:
            self._give_up(mailbox)
        if mailbox.behind:
            self._written(mailbox)

    def _give_up(self, mailbox: Mailbox) -> None:
        """It has lost what was to be written, so it has to come back; the others go on."""
        log.exception("a subscriber cannot be written to")
        with suppress(Exception):
            mailbox.sink.end(CloseCode.RESTARTING, "internal error")
