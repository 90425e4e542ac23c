"""What one follower was told of its topics, and all that it must never be told. Pure.

The rules, checked with every message, across connections and instances:

- No version falls: not for a key, and a snapshot is not older than anything told before.
- Equal versions of a key in a topic show equal rows, whoever is told (`Ties`).
- No row goes back: of a row's life (`born`) the `counter` never falls, and a life that
  gave way to another state of its key comes back only with a higher one.
- A topic holds only its own rows, and nothing is shown that was rolled back.

Log topics have rules of their own (`reading`). What a failover has lost is not held against
anybody (`history`).

Folding is that of tests/support/replica.py, by the client rules of docs/protocol.md.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from tests.chaos.reading import START, Reading, Wrong
from tests.chaos.schema import BEACON, NEVER, identity
from tests.support.replica import Held

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.history import Shared
    from tests.chaos.schema import Row, Topic

_KEPT = 12
_NEVER = f'"{NEVER}"'


class Broken(Exception):  # noqa: N818
    """A promise was broken: which one, and at which key of which table."""

    def __init__(self, what: str, table: str = "", key: str = "", history: Iterable[str] = ()):
        super().__init__(what)
        self.what = what
        self.table = table
        self.key = key
        self.history = list(history)


class Told:
    """One topic."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.held = Held()
        self.complete = False
        self.cursor: str | None = None
        self.previous: dict[str, Row] = {}
        self.newest = ""
        self.versions: dict[str, str] = {}
        self.lives: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        self.history: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_KEPT))


class Witness:
    """One follower's, of topics and log topics; `take` raises Broken."""

    def __init__(self, name: str, topics: list[Topic], logs: list[Topic], shared: Shared) -> None:
        self.name = name
        self.told = {topic.name: Told(topic) for topic in topics}
        self.logs = {topic.name: Reading(topic, shared.order) for topic in logs}
        self.messages = self.resumed = self.events = 0
        self.beacon = -1
        self.instance = "?"
        self._shared = shared

    @property
    def topics(self) -> list[str]:
        return [*self.told, *self.logs]

    @property
    def missing(self) -> list[str]:
        """Topics that it has not been told wholly, or not from their beginning."""
        everything = {**self.told, **self.logs}
        return [name for name, one in everything.items() if not one.complete]

    @property
    def astray(self) -> bool:
        """Whether it has to come back, to begin a log again."""
        return any(log.astray for log in self.logs.values())

    def since(self) -> dict[str, str | None]:
        """Where to go on with each topic."""
        for log in self.logs.values():
            log.astray = False
        states = {name: told.cursor for name, told in self.told.items()}
        return states | {name: log.since for name, log in self.logs.items()}

    def mark(self) -> None:
        """The id of a stream stands for all that has come so far."""
        for log in self.logs.values():
            log.mark()

    def position(self, last_id: str) -> str:
        """The last id, with the beginning of the logs that it has no place in."""
        known = last_id.split(",") if last_id else [""] * len(self.topics)
        places = dict(zip(self.topics, known, strict=True))
        for name, log in self.logs.items():
            log.astray = False
            log.rewind()
            if not log.complete or not places[name]:
                log.begin()
                places[name] = START
        return ",".join(places.values())

    def take(self, text: str) -> None:
        self.messages += 1
        message = json.loads(text)
        kind = message["type"]
        if kind == "welcome":
            self.instance = message["instance"]
        elif message.get("topic") in self.logs:
            self._log(self.logs[message["topic"]], message)
        elif kind == "subscribed":
            told = self.told[message["topic"]]
            told.complete = message["resumed"] and told.complete
            self.resumed += message["resumed"]
        elif kind == "snapshot":
            self._snapshot(self.told[message["topic"]], message, text)
        elif kind == "change":
            self._change(self.told[message["topic"]], message, text)
        elif kind == "error":
            self._error(message)
        if message.get("topic") in self.told:
            self._place(self.told[message["topic"]], message)

    def _log(self, log: Reading, message: dict[str, Any]) -> None:
        self.events += message["type"] == "event"
        try:
            log.take(message)
        except Wrong as wrong:
            raise self._misread(log, wrong) from None

    def _misread(self, log: Reading, wrong: Wrong) -> Broken:
        where = f"{self.name}, {log.topic.name}, told by {self.instance}"
        return Broken(f"{where}: {wrong}", log.topic.table, wrong.key)

    def _place(self, told: Told, message: dict[str, Any]) -> None:
        """Where to resume, by the rules of docs/protocol.md."""
        if not message.get("last", True) or message.get("resumed") is False:
            told.cursor = None
        told.cursor = message.get("cursor", told.cursor)

    def _error(self, message: dict[str, Any]) -> None:
        if message["code"] != "unavailable":
            raise Broken(f"{self.name} was refused: {message}")

    def _snapshot(self, told: Told, page: dict[str, Any], text: str) -> None:
        self._version(told, "", page["version"], told.newest, text)
        if page["first"]:
            told.previous = told.held.rows
            told.versions.clear()
        told.held.fold(page)
        for entry in page["rows"]:
            key = identity(entry["key"])
            told.history[key].append(self._line(page, entry["row"]))
            self._row(told, key, page["version"], entry["row"], told.previous.get(key))
        told.complete = page["last"]
        told.newest = page["version"]

    def _change(self, told: Told, change: dict[str, Any], text: str) -> None:
        key, version = identity(change["key"]), change["version"]
        told.history[key].append(self._line(change, change["row"]))
        floor = told.held.floor
        if floor is None:
            raise Broken(f"{self.name}: a change before any snapshot: {text}")
        self._version(told, key, version, max(floor, told.versions.get(key, "")), text)
        before = told.held.rows.get(key)
        told.held.fold(change)
        told.versions[key] = version
        told.newest = max(told.newest, version)
        self._row(told, key, version, change["row"], before)

    def _version(self, told: Told, key: str, version: str, least: str, text: str) -> None:
        if version < least:
            raise self._broken(told, key, f"a version fell from {least}: {text[:500]}")

    def _row(self, told: Told, key: str, version: str, row: Row | None, before: Row | None) -> None:
        if not self._shared.ties.agree(told.topic.name, key, version, row):
            raise self._broken(told, key, f"two states of version {version}, one of them {row}")
        if row is None:
            return
        if not told.topic.admits(row):
            raise self._broken(told, key, f"a row of another topic: {row}")
        if _NEVER in json.dumps(row):
            raise self._broken(told, key, f"a row that was rolled back: {row}")
        if told.topic.name == BEACON:
            self.beacon = max(self.beacon, row["n"])
        else:
            self._life(told, key, self._shared.histories.of(version), row, before)

    def _life(self, told: Told, key: str, history: int, row: Row, before: Row | None) -> None:
        lives, born, counter = told.lives[key, history], row["born"], row["counter"]
        highest = lives.get(born, -1)
        returned = counter == highest and (before is None or before["born"] != born)
        if counter < highest or (returned and not told.topic.returning):
            raise self._broken(told, key, f"it went back in time, to {row} from {before}")
        lives[born] = counter

    def _line(self, message: dict[str, Any], row: Row | None) -> str:
        kind = message.get("op", "snapshot")
        return f"{message['version']} {kind} from {self.instance}: {json.dumps(row)}"

    def _broken(self, told: Told, key: str, what: str) -> Broken:
        where = f"{self.name}, {told.topic.name} {key}"
        return Broken(f"{where}: {what}", told.topic.table, key, told.history[key])

    def difference(
        self, expected: dict[str, dict[str, Row]], events: dict[str, dict[int, Row]]
    ) -> Broken | None:
        """The first key that is not as expected, by topic and key; None if all are."""
        for name, log in self.logs.items():
            if (wrong := log.difference(events[name])) is not None:
                return self._misread(log, wrong)
        for name, told in self.told.items():
            held, right = told.held.rows, expected[name]
            if not told.complete:
                return Broken(f"{self.name}, {name}: it has no complete snapshot")
            if held == right:
                continue
            key = next(k for k in sorted(held | right) if held.get(k) != right.get(k))
            what = f"holds {held.get(key)}, the table has {right.get(key)}"
            return self._broken(told, key, what)
        return None
