"""The rows of one topic, kept what the table holds.

Folded by the client rules of docs/protocol.md: a snapshot replaces everything, and does so
only when its last page is there; a change counts unless it is older than what is held,
deletes included. Who is behind gets the newest change of each key, not every one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.client.wire import Change, Document, Lost, Refused, Snapshot, Status, Subscribed
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator

    from bridge.client.wire import Message


class Changed(NamedTuple):
    """A key of a replica, and its row now; None if it is gone."""

    key: Hashable
    row: Document | None


def identity(key: Document) -> Hashable:
    """The value of a key of one column; of several, a tuple in the columns' alphabetical order."""
    values = tuple(_hashable(key[name]) for name in sorted(key))
    return values[0] if len(values) == 1 else values


def _hashable(value: Any) -> Hashable:
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True, default=str)
    return value  # type: ignore[no-any-return]


class Replica(Mapping["Hashable", Document]):
    """Rows by key: `orders[42]`, or `lines[{"order_id": 42, "line": 1}]` for several columns.

    `async for changed in replica` gives what changes from then on.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._rows: dict[Hashable, Document] = {}
        self._versions: dict[Hashable, str] = {}
        self._floor: str | None = None
        self._staged: dict[Hashable, Document] | None = None
        self._connected = False
        self._stale = False
        self._end: Exception | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening: dict[int, dict[Hashable, Changed]] = {}

    def __getitem__(self, key: Hashable | Document) -> Document:
        return self._rows[identity(key) if isinstance(key, dict) else key]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Replica of {self.topic}: {len(self)} rows, {self.status}>"

    @property
    def complete(self) -> bool:
        """Whether there has been a whole snapshot."""
        return self._floor is not None

    @property
    def status(self) -> str:
        """`live`, or `stale` while there is no connection or the bridge says so."""
        fine = self.complete and self._connected and not self._stale and self._end is None
        return "live" if fine else "stale"

    async def until(self, true: Callable[[Replica], bool]) -> None:
        """Wait until the condition holds. Raises BridgeError if there will be no more news."""
        while not true(self):
            await self._wait()

    async def __aiter__(self) -> AsyncIterator[Changed]:
        pending: dict[Hashable, Changed] = {}
        self._listening[id(pending)] = pending
        try:
            while True:
                while pending:
                    yield pending.pop(next(iter(pending)))
                await self._wait()
        finally:
            del self._listening[id(pending)]

    async def _wait(self) -> None:
        if self._end is not None:
            raise self._end
        await asyncio.shield(self._news)

    # What it is told.

    def take(self, message: Message) -> None:
        match message:
            case Snapshot():
                self._tell(self._page(message))
            case Change():
                self._tell(self._change(message))
            case Subscribed(resumed=False, cursor=str()):
                # Of rows, a snapshot would bring the cursor; none will come.
                self.end(BridgeError(f"{self.topic}: a log has events and no rows; follow() it"))
            case Subscribed(resumed=resumed):
                self._connected = resumed
            case Status(state):
                self._stale = state == "stale"
            case Lost():
                self._connected = self._stale = False
            case Refused(code, text):
                self._refuse(code, text)
        self._wake()

    def _page(self, page: Snapshot) -> Iterable[Changed]:
        if page.first:
            self._staged = {}
        if self._staged is None:
            return ()
        self._staged.update((identity(entry.key), entry.row) for entry in page.rows)
        if not page.last:
            return ()
        old, self._rows, self._staged = self._rows, self._staged, None
        self._versions, self._floor, self._connected = {}, page.version, True
        return _difference(old, self._rows)

    def _change(self, change: Change) -> Iterable[Changed]:
        key = identity(change.key)
        if self._floor is None or change.version < self._versions.get(key, self._floor):
            return ()
        self._versions[key] = change.version
        if change.row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = change.row
        return (Changed(key, change.row),)

    def _refuse(self, code: str, text: str) -> None:
        # One row that cannot be read: the topic stays followed.
        if code != "unavailable":
            self.end(BridgeError(f"{self.topic}: {text} ({code})"))

    def _tell(self, changes: Iterable[Changed]) -> None:
        for changed in changes:
            for pending in self._listening.values():
                # Behind those that wait already, as a newer one.
                pending.pop(changed.key, None)
                pending[changed.key] = changed

    def end(self, reason: Exception) -> None:
        """There will be no more news; who waits is told why."""
        self._end = self._end or reason
        self._wake()

    @property
    def ended(self) -> bool:
        return self._end is not None

    def _wake(self) -> None:
        news, self._news = self._news, self._news.get_loop().create_future()
        news.set_result(None)


def _difference(old: dict[Hashable, Document], new: dict[Hashable, Document]) -> Iterator[Changed]:
    yield from (Changed(key, None) for key in old if key not in new)
    yield from (Changed(key, row) for key, row in new.items() if old.get(key) != row)
