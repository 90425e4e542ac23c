"""Who comes back with a cursor: what it has missed, or that this cannot be told. Pure, but for
the reads it is given.

A subscriber who resumes waits for the same read of the topic as all who come. Beside it,
the changes are read that its cursor does not see and that read does, and what became of each
key *in this topic* is what the subscriber has missed: a row that moved away is deleted for
it, one that came is inserted, one that only changed elsewhere is nothing.

The rows it is told are those of that read. Newer ones would be at hand, but what one
subscriber was told and the topic's ledger does not know of, nobody would take back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge import cursor, wire
from bridge.changelog import changes
from bridge.changes import Dirty, Effect, Operation, Snapshot
from bridge.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bridge.changelog import About, Changelog, Kept
    from bridge.changes import Change, Key, Old
    from bridge.cursor import Moment
    from bridge.errors import ProtocolError
    from bridge.loader import Loader
    from bridge.routes import Topic
    from bridge.subscription import Subscription
    from bridge.tables import Table
    from bridge.turns import Request
    from bridge.wire import ChangeMessage


class Returning(NamedTuple):
    """One who resumes, from a moment that can be resumed from."""

    subscription: Subscription
    topic: Topic
    since: Moment
    until: Moment
    read: Snapshot


class Resumption:
    """Finds out for one bridge. `widths` are of all tables; `middle` tells, for a table, the
    ones whose rows lead to its rows only by a read."""

    def __init__(
        self,
        changelog: Changelog,
        loader: Loader,
        widths: dict[str, tuple[int, int]],
        middle: Mapping[str, Collection[str]],
    ) -> None:
        self._changelog = changelog
        self._loader = loader
        self._widths = widths
        self._middle = middle

    async def missed(
        self, request: Request, answers: Mapping[Topic, Snapshot | ProtocolError], about: About
    ) -> dict[Subscription, list[tuple[str, ChangeMessage]]]:
        """By subscription that can resume: the changes it has missed, by key."""
        returning = list(_returning(request, answers, about))
        if not returning:
            return {}
        table = request.route.table
        names = [table.name, *self._middle[table.name]]
        kept = await self._changelog.read(_earliest(returning), names)
        now = await self._changelog.about()
        if kept is None or now.identity != about.identity:
            return {}
        told = [
            (one, found)
            for one in returning
            if now.covers(one.since)
            and (found := folded(kept, one, table.name, self._widths)) is not None
        ]
        keys = {dirty.key for _, found in told for dirty in found}
        written = await self._written(table, keys)
        return {
            one.subscription: _messages(one, table, found, written)
            for one, found in told
            if all(dirty.key in written for dirty in found)
        }

    async def _written(self, table: Table, keys: Collection[Key]) -> dict[Key, str]:
        """Keys as messages write them. Who missed one that cannot be read gets a snapshot."""
        if not keys:
            return {}
        try:
            found, _ = await self._loader.load(table, sorted(keys))
        except RefusedError:
            return {}
        return {state.key: state.key_json for state in found}


def _returning(
    request: Request, answers: Mapping[Topic, Snapshot | ProtocolError], about: About
) -> Iterable[Returning]:
    for topic, asked in request.topics.items():
        answer = answers[topic]
        if not isinstance(answer, Snapshot) or answer.moment is None:
            continue
        for subscription in asked.waiting:
            since = subscription.since if topic.viewer is None else None
            moment = since and cursor.moment(since, about.identity, topic.name)
            # One from the future is of a database that went back in time.
            if moment and moment.completed <= answer.moment.completed:
                yield Returning(subscription, topic, moment, answer.moment, answer)


def _earliest(returning: Sequence[Returning]) -> cursor.Moment:
    """A moment that sees nothing which one of these does not see."""
    xmin = min(one.since.xmin for one in returning)
    return cursor.Moment(xmin, xmin)


def folded(
    kept: Kept, one: Returning, table: str, widths: dict[str, tuple[int, int]]
) -> tuple[Dirty, ...] | None:
    """The keys that changed between two moments; None if the payloads do not say which."""
    payloads = (
        payload
        for payload in kept.payloads
        if one.until.sees(payload.xid) and not one.since.sees(payload.xid)
    )
    found, gaps = changes(payloads, widths)
    if gaps or any(change.table != table for change in found):
        return None
    return tuple(_merged(found))


def _merged(found: Iterable[Change]) -> Iterable[Dirty]:
    """Changes in their order → one Dirty a key, as a coalescer would have it."""
    existed: dict[Key, bool] = {}
    olds: dict[Key, set[Old]] = {}
    for change in found:
        existed.setdefault(change.key, change.operation is not Operation.INSERT)
        olds.setdefault(change.key, set()).update({change.old} if change.old else ())
    return (Dirty(key, was, frozenset(olds[key])) for key, was in existed.items())


def _messages(
    one: Returning, table: Table, missed: Iterable[Dirty], keys: Mapping[Key, str]
) -> list[tuple[str, ChangeMessage]]:
    """Deletes first: where a key only changed its spelling, the row must survive."""
    told: list[tuple[str, ChangeMessage]] = []
    rows = dict(one.read.rows)
    for dirty in missed:
        key = keys[dirty.key]
        if (effect := _effect(one.topic, dirty, key in rows)) is not None:
            change = wire.change(
                one.topic.name, table.name, effect, key, rows.get(key), one.read.version
            )
            told.append((key, change))
    told.sort(key=lambda telling: telling[1].effect is not Effect.DELETE)
    return told


def _effect(topic: Topic, dirty: Dirty, present: bool) -> Effect | None:
    """What the changes of a key did to the topic, if it is `present` in it now."""
    route = topic.route
    before = {route.place(dirty.key + old) for old in dirty.old}
    before = before or {topic.values if present else None}
    if present:
        return Effect.UPDATE if dirty.existed and topic.values in before else Effect.INSERT
    gone = topic.values in before or (route.keyed and route.place(dirty.key) == topic.values)
    return Effect.DELETE if gone else None
