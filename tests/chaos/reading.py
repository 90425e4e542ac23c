"""How one follower reads a log topic: every committed row once, in the order of all. Pure.

It begins with the first row. From then on it goes on from a cursor, and a cursor must be
honoured for as long as the log is the same one. Of another log, after a failover, it is told
by `resumed: false`, and begins again with the first row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.chaos.schema import NEVER

if TYPE_CHECKING:
    from tests.chaos.history import Order
    from tests.chaos.schema import Row, Topic

START = "start"


class Wrong(Exception):  # noqa: N818
    """What is wrong with a message about a log topic, and at which row."""

    def __init__(self, what: str, key: object = "") -> None:
        super().__init__(what)
        self.key = str(key)


class Reading:
    """`since` is what to ask for next; `astray` asks the follower to come back with it."""

    def __init__(self, topic: Topic, order: Order) -> None:
        self.topic = topic
        self.since = START
        self.astray = False
        self._order = order
        self._place = 0
        self._log = ""
        self._marked = START, "", 0

    @property
    def complete(self) -> bool:
        """Whether it is told what it asked for."""
        return self.since != START

    def take(self, message: dict[str, Any]) -> None:
        """Raises Wrong."""
        if message["type"] == "subscribed":
            self._subscribed(message["resumed"], message["cursor"])
        elif message["type"] == "event" and self.complete:
            self._event(message["row"], message["cursor"])
        elif message["type"] == "error":
            raise Wrong(f"rows that cannot be read: {message}")

    def _subscribed(self, resumed: bool, cursor: str) -> None:
        log = _log(cursor)
        if self.complete and resumed == (log != self._log):
            what = "another log goes on" if resumed else "its place in the log was refused"
            raise Wrong(f"{what}: {self._log}, {cursor}")
        if resumed:
            self._log, self.since = log, cursor
        elif self.complete:
            self.begin()
            self.astray = True

    def _event(self, row: Row, cursor: str) -> None:
        if _log(cursor) != self._log:
            raise Wrong(f"an event of another log than {self._log}: {cursor}", row["id"])
        if NEVER in json.dumps(row) or not self.topic.admits(row):
            raise Wrong(f"a row that was rolled back, or of another topic: {row}", row["id"])
        if refused := self._order.refuses(self.topic.name, self._log, self._place, row):
            raise Wrong(f"{row} as number {self._place + 1}: {refused}", row["id"])
        self._place += 1
        self.since = cursor

    def begin(self) -> None:
        """With the first row, again."""
        self.since, self._log, self._place = START, "", 0
        self.mark()

    def mark(self) -> None:
        """It will come back to this place, if not to a later one."""
        self._marked = self.since, self._log, self._place

    def rewind(self) -> None:
        self.since, self._log, self._place = self._marked

    def difference(self, rows: dict[int, Row]) -> Wrong | None:
        """What it got, against what there is."""
        if not self.complete:
            return Wrong("it has not begun with the first row")
        if self._order.shows(self.topic.name, self._log, self._place, rows):
            return None
        other = self._order.first_other(self.topic.name, self._log, self._place, rows)
        return Wrong(f"got {self._place} rows of {len(rows)}; one that differs: {other}", other)


def _log(cursor: str) -> str:
    """Which log a cursor is a place in."""
    return cursor.split(".")[1]
