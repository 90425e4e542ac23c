"""Everything that log tables need of a bridge, made in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.log_feed import LogFeed
from bridge.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from bridge.health import Health
    from bridge.logbook import Logbook
    from bridge.metrics import Metrics
    from bridge.streams import Streams
    from bridge.tables import Table

READERS = 2
"""Pages read at a time for streams that are behind."""


class Logs:
    """What follows the log tables among these, if there are any."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        streams: Streams,
        book: Logbook,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._tables = {name: table for name, table in tables.items() if table.log}
        self._streams = streams
        self._live = False
        self._feed = LogFeed(self._tables, streams, book, health, metrics)
        self._feed.on_caught_up = self._caught_up
        self._replay = Replay(streams, book, metrics)
        self.ring = self._feed.ring

    def work(self) -> Iterator[Callable[[], Coroutine[None, None, None]]]:
        """What has to run for ever, each in a task of its own."""
        if self._tables:
            yield self._feed.run
            yield from [self._replay.run] * READERS

    def stale(self) -> None:
        """The database is out of reach. Subscribers are told that it is back when all that was
        written meanwhile has been published."""
        self._live = False
        for mailbox in self._streams.mailboxes:
            mailbox.lane.behind = True

    def resume(self) -> None:
        """It is back."""
        self._live = True
        self._feed.resume()

    def _caught_up(self) -> None:
        for mailbox in self._streams.mailboxes:
            mailbox.lane.behind = False
            if self._live:
                mailbox.settle()
