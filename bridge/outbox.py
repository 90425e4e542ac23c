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
from typing import TYPE_CHECKING

from bridge.wire import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.mailbox import Mailbox
    from bridge.wire import News

log = logging.getLogger(__name__)

SLICE = 0.01
"""Seconds of writing after which others have their turn. What fits into the first costs least."""

AT_LEAST = 16
"""Mailboxes of a slice."""


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
        self._until, self._left = 0.0, 0
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
        self._until, self._left = self._clock() + SLICE, AT_LEAST

    def tell(self, mailbox: Mailbox, news: News) -> bool:
        """Write it now; False if it has to be put into the mailbox, and sent with the others.

        To go through all subscribers once, and not again to write, is worth a third of the whole.
        """
        if self._due or not self._open():
            return False
        try:
            mailbox.tell(news)
        except Exception:
            self._give_up(mailbox)
        return True

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
            self._flush(self._due.popleft())
        if self._due and self.later is not None:
            self.later(self._slice)

    def _open(self) -> bool:
        """Whether the slice goes on for one more; the clock is not asked for each."""
        self._left -= 1
        if self._left < 0 and self._clock() < self._until:
            self._left = AT_LEAST - 1
        return self._left >= 0 or self.later is None

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
