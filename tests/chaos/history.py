"""What is true of all followers together, and when it began to be. Pure.

A failover may lose commits: from the first version of the new primary on, a row may be what
it was before. And a log of another primary is another log, which begins anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.schema import Row

_TIES = 200_000


class Histories:
    """Where versions begin to be of another history."""

    def __init__(self) -> None:
        self._begins: list[str] = []

    def begin(self, version: str) -> None:
        """From this version on; all later ones are above it."""
        self._begins.append(version)

    def __len__(self) -> int:
        return len(self._begins)

    def of(self, version: str) -> int:
        return bisect_right(self._begins, version)


class Ties:
    """What each version of each key showed; the oldest are forgotten."""

    def __init__(self) -> None:
        self._shown: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def agree(self, topic: str, key: str, version: str, row: Row | None) -> bool:
        place, digest = (topic, key, version), hash(repr(row))
        known = self._shown.setdefault(place, digest)
        if len(self._shown) > _TIES:
            self._shown.popitem(last=False)
        return known == digest


class Order:
    """In which order the events of a log topic come: who gets one first has said it."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._digests: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self._right: dict[tuple[str, str], dict[int, Row]] = {}

    def refuses(self, topic: str, log: str, place: int, row: Row) -> str | None:
        """What is wrong with a row as the next of a topic of a log, if anything."""
        ids, digests = self._ids[topic, log], self._digests[topic, log]
        id_, digest = row["id"], hash(repr(row))
        if place == len(ids):
            if id_ in digests:
                return "it comes a second time"
            ids.append(id_)
            digests[id_] = digest
        if ids[place] != id_:
            return f"others got row {ids[place]} in its place"
        return None if digests[id_] == digest else "others got it with other values"

    def shows(self, topic: str, log: str, place: int, rows: dict[int, Row]) -> bool:
        """Whether the first so many are exactly these."""
        ids, digests = self._ids[topic, log][:place], self._digests[topic, log]
        if len(ids) != len(rows):
            return False
        if self._right.get((topic, log)) is rows:
            return True
        right = all(id_ in rows and digests[id_] == hash(repr(rows[id_])) for id_ in ids)
        if right:
            self._right[topic, log] = rows
        return right

    def first_other(self, topic: str, log: str, place: int, rows: dict[int, Row]) -> int | None:
        """A row that is among the one and not among the other."""
        return next(iter(sorted(set(self._ids[topic, log][:place]) ^ rows.keys())), None)


class Shared:
    """All of it, for the followers of one round."""

    def __init__(self, histories: Histories | None = None) -> None:
        self.histories = histories or Histories()
        self.ties = Ties()
        self.order = Order()
