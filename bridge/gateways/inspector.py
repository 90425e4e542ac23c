"""What the inspector page asks: how things stand, and what became of one key.

Without `auth` everybody who reaches the port may ask, as everybody may follow everything.
With it, who has a good token learns what /metrics and the topics' names say, by table; who
else is connected, what is wrong, and what became of a key, only one whose claims meet
`auth.inspect`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from heapq import nlargest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from bridge import __version__
from bridge.errors import ProtocolError
from bridge.gateways.connection import Connection
from bridge.gateways.http import json_answer, refusal, text
from bridge.gateways.sse import EventStream
from bridge.trace import Kind
from bridge.why import answer, filters, topics
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from websockets.http11 import Request, Response

    from bridge.changes import Key
    from bridge.gateways.access import Access, Entry
    from bridge.gateways.http import Target
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.inquiry import Inquiry
    from bridge.mailbox import Mailbox
    from bridge.tables import Table
    from bridge.trace import Step, Trace

STATUS, WHY = "/inspector/status", "/inspector/why"

SHOWN = 50
"""Subscribers, and steps of a key, that are shown; the slowest and the latest."""

FRESH = 5.0
"""Seconds for which a list of instances is good: several may look at once."""

STATUS_FRESH = 0.5
"""And for how many the rest is."""

_HIDDEN: dict[str, object] = {
    "reasons": [],
    "instances": [],
    "subscribers": None,
    "followed": [],
}


class Heard(NamedTuple):
    """A topic that somebody follows; `messages` are counted for topics of states alone."""

    name: str
    table: str
    followers: int
    messages: int | None


class Inspector:
    """Answers for one bridge. `inquiry` is there once the database has been reached."""

    def __init__(self, hub: Hub, health: Health, access: Access, instance: str) -> None:
        self._hub = hub
        self._health = health
        self._access = access
        self._instance = instance
        self.inquiry: Inquiry | None = None
        self._instances: tuple[float, list[dict[str, object]]] = (-FRESH, [])
        self._status_of: tuple[float, dict[str, object]] = (-FRESH, {})

    def answers(self, path: str) -> bool:
        return self._hub.trace is not None and path in (STATUS, WHY)

    async def answer(self, request: Request, target: Target, entry: Entry) -> Response:
        """To one who has a good token, or needs none."""
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.\n")
        assert self._hub.trace is not None
        full = self._access.inspects(entry)
        try:
            if target.path == STATUS:
                status = await self._status(self._hub.trace)
                return json_answer(HTTPStatus.OK, status if full else status | _HIDDEN)
            if full:
                return json_answer(HTTPStatus.OK, await self._why(self._hub.trace, target.query))
            said = "your token does not meet auth.inspect, which says who may see this"
            return refusal(ProtocolError(ErrorCode.FORBIDDEN, said))
        except ProtocolError as error:
            return refusal(error)

    # How things stand.

    async def _status(self, trace: Trace) -> dict[str, object]:
        now = asyncio.get_running_loop().time()
        if now - self._status_of[0] >= STATUS_FRESH:
            # Where there are many topics this takes some milliseconds: one for all who look.
            heard = self._heard()
            self._status_of = (
                now,
                {
                    "instance": self._instance,
                    "version": __version__,
                    "reasons": list(self._health.reasons.values()),
                    "tables": [_table(trace, heard, table) for table in self._tables().values()],
                    "instances": await self._known(),
                    "subscribers": list(self._slowest()),
                    "followed": [one._asdict() for one in nlargest(SHOWN, heard, _by_followers)],
                },
            )
        return self._status_of[1]

    def _tables(self) -> dict[str, Table]:
        return {} if self.inquiry is None else dict(self.inquiry.tables)

    def _heard(self) -> list[Heard]:
        found = [
            Heard(topic.name, topic.route.table.name, len(topic.subscriptions), topic.sent)
            for topic in self._hub.routes.followed()
        ]
        streams = self._hub.streams
        logs = Counter(name for mailbox in streams.mailboxes for name in streams.followed(mailbox))
        for name, followers in logs.items():
            if route := self._hub.routes.route(name):
                found.append(Heard(name, route.table.name, followers, None))
        return found

    async def _known(self) -> list[dict[str, object]]:
        if self.inquiry is None or "listener" in self._health.reasons:
            return []  # a database out of reach would be waited for
        now = asyncio.get_running_loop().time()
        if now - self._instances[0] >= FRESH:
            found = [one._asdict() for one in await self.inquiry.instances()]
            self._instances = now, found
        return self._instances[1]

    def _slowest(self) -> Iterator[dict[str, object]]:
        now = asyncio.get_running_loop().time()
        slowest = nlargest(SHOWN, self._hub.mailboxes, lambda m: (_stalled(m, now), m.unsent))
        for mailbox in slowest:
            yield {
                "number": mailbox.number,
                "peer": _peer(mailbox),
                "topics": len(self._hub.followed(mailbox)),
                "unsent": mailbox.unsent,
                "stalled": round(_stalled(mailbox, now), 1),
            }

    # What became of one key.

    async def _why(self, trace: Trace, query: str) -> dict[str, object]:
        """Raises ProtocolError."""
        inquiry = self.inquiry
        if inquiry is None:
            raise ProtocolError(ErrorCode.UNAVAILABLE, "the database is out of reach; try again")
        table, key = _asked(query, self._tables())
        standing = await inquiry.standing(table, key)
        names = topics(table, key, standing)
        steps = list(trace.about(table.name, key, names))
        heard = {name: self._followers(name) for name in names}
        return {
            "table": table.name,
            "key": dict(zip(table.fields, key, strict=False)),
            "answer": answer(table, steps, standing, sum(heard.values())),
            "row": standing.row,
            "topics": [{"name": name, "followers": count} for name, count in heard.items()],
            "filters": list(filters(table)),
            "since": trace.since,
            "steps": [_shown(step) for step in _coalesced(steps)[-SHOWN:]],
        }

    def _followers(self, name: str) -> int:
        route, streams = self._hub.routes.route(name), self._hub.streams
        if route is not None and route.table.log:
            return sum(name in streams.followed(mailbox) for mailbox in streams.mailboxes)
        topics = (found.get(name) for found in route.followed.values()) if route else ()
        return sum(len(topic.subscriptions) for topic in topics if topic)


def _by_followers(heard: Heard) -> int:
    return heard.followers


def _table(trace: Trace, heard: Sequence[Heard], table: Table) -> dict[str, object]:
    followers = [topic.followers for topic in heard if topic.table == table.name]
    return {
        "name": table.name,
        "key": [column.name for column in table.key],
        "refreshes": table.parent.table if table.parent else None,
        "topics": len(followers),
        "followers": sum(followers),
        **{name: trace.totals[table.name][name] for name in ("changes", "reads", "messages")},
    }


def _asked(query: str, tables: dict[str, Table]) -> tuple[Table, Key]:
    """Raises ProtocolError unless it names a table, and as many `key` as that has columns."""
    given = parse_qs(query, keep_blank_values=True)
    table = tables.get(given.get("table", [""])[0])
    if table is None:
        known = ", ".join(list(tables)[:8])
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"no such table; there are {known}")
    key = tuple(given.get("key", []))
    if len(key) != len(table.key) or not key or any("\0" in part for part in key):
        columns = ", ".join(column.name for column in table.key) or "none"
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE,
            f"{table.name} needs a value for each column of its key: {columns}",
        )
    return table, key


def _coalesced(steps: list[Step]) -> list[tuple[Step, int]]:
    """Changes that arrived one after the other, of which nothing came between, are one."""
    found: list[tuple[Step, int]] = []
    for step in steps:
        if found and step.kind in (Kind.SEEN, Kind.IGNORED) and found[-1][0].kind is step.kind:
            before, times = found[-1]
            said = dict.fromkeys([*before.detail.split(", "), step.detail])
            found[-1] = step._replace(detail=", ".join(said)), times + 1
        else:
            found.append((step, 1))
    return found


def _shown(noted: tuple[Step, int]) -> dict[str, Any]:
    step, times = noted
    names = ("at", "kind", "topic", "detail", "hearers", "told", "later")
    return {name: getattr(step, name) for name in names} | {"times": times}


def _stalled(mailbox: Mailbox, now: float) -> float:
    """Seconds without taking a byte."""
    since = mailbox.sink.stalled_since
    return 0.0 if since is None else now - since


def _peer(mailbox: Mailbox) -> str:
    sink = mailbox.sink
    return sink.peer if isinstance(sink, Connection | EventStream) else "a single read"
