"""The topics that somebody follows, by the template they come from."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING

from bridge import wire
from bridge.changes import Effect
from bridge.cursor import of_moment
from bridge.errors import ProtocolError
from bridge.ledger import Ledger
from bridge.topics import specific
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from bridge.changes import Change, Dirty, Key, Snapshot, State
    from bridge.cursor import Moment
    from bridge.subscription import Subscription
    from bridge.tables import Table
    from bridge.topics import Place, Template
    from bridge.viewer import Viewer
    from bridge.wire import ChangeMessage

_NONE: Mapping[str, Topic] = MappingProxyType({})


class Route:
    """One template of one table, and the topics of it that somebody follows, by viewer.

    `keyed`: a row's key alone decides its topic. `single`: a topic holds one row at most.
    `every`: any key may be of any topic, as far as the key tells. `place` finds a topic from a
    row's values, without making its name, and `places` holds those that are followed.
    """

    __slots__ = (
        "every",
        "followed",
        "keyed",
        "place",
        "places",
        "single",
        "table",
        "template",
        "wanted",
    )

    def __init__(self, table: Table, template: Template) -> None:
        self.table = table
        self.template = template
        key = {column.name for column in table.key}
        self.keyed = key.issuperset(template.columns)
        self.single = key == set(template.columns)
        self.every = not self.keyed or not template.columns
        self.place = template.places(table.fields)
        self.places: dict[Place, dict[Viewer, Topic]] = {}
        self.followed: dict[Viewer, dict[str, Topic]] = {}
        self.wanted: dict[Topic, None] = {}

    def of(self, viewer: Viewer) -> Mapping[str, Topic]:
        """The topics that this viewer follows, by name."""
        return self.followed.get(viewer, _NONE)

    def at(self, place: Place | None, viewer: Viewer) -> Topic | None:
        """The topic of this place, if this viewer follows it."""
        found = None if place is None else self.places.get(place)
        return None if found is None else found.get(viewer)

    def add(self, topic: Topic) -> None:
        self.followed.setdefault(topic.viewer, {})[topic.name] = topic
        self.places.setdefault(topic.values, {})[topic.viewer] = topic

    def remove(self, topic: Topic) -> None:
        del self.places[topic.values][topic.viewer]
        if not self.places[topic.values]:
            del self.places[topic.values]
        del self.followed[topic.viewer][topic.name]
        if not self.followed[topic.viewer]:
            del self.followed[topic.viewer]
        self.wanted.pop(topic, None)


class Topic:
    """A topic somebody follows; to each viewer, where there are any, it is another one.

    `waiting` are owed a snapshot that nobody reads yet; `reading` while one is read. There
    is one read at a time, so that reads come back in the order of their versions. `moment`
    is, of a durable table, the last one of which all changes were told, and `loss` is what
    was missed since, until a read has made up for it. `sent` counts messages.
    """

    __slots__ = (
        "ledger",
        "loss",
        "moment",
        "name",
        "reading",
        "route",
        "sent",
        "subscriptions",
        "values",
        "viewer",
        "waiting",
    )

    def __init__(
        self, name: str, route: Route, values: tuple[str, ...], viewer: Viewer = None
    ) -> None:
        self.viewer = viewer
        self.name = name
        self.route = route
        self.values = values
        self.subscriptions: dict[Subscription, None] = {}
        self.waiting: dict[Subscription, None] = {}
        self.reading = False
        self.moment: Moment | None = None
        self.loss: object | None = None
        self.sent = 0
        self.ledger = Ledger()

    def advance(self, moment: Moment | None) -> None:
        """All changes that this moment sees were told; moments may come out of order."""
        if (
            self.loss is None
            and moment
            and (self.moment is None or moment.completed > self.moment.completed)
        ):
            self.moment = moment

    def cursor(self, identity: str | None) -> str | None:
        """For who was told everything so far."""
        return self.at(identity, self.moment)

    def at(self, identity: str | None, moment: Moment | None) -> str | None:
        """The cursor for a moment, as far as there is one.

        What changed since would name rows that a viewer may not see: they have none.
        """
        if identity is None or moment is None or not self.route.table.durable:
            return None
        if self.viewer is not None:
            return None
        return of_moment(identity, self.name, moment)

    def sync(
        self, snapshot: Snapshot, now: float, *, expected: bool = False
    ) -> Iterator[tuple[str, ChangeMessage]]:
        """Take in a read; yields what is news to those who follow already, by key.

        `expected`: something was missed, and news are no sign of a fault.
        """
        digests = {key: hash(row) for key, row in snapshot.rows}
        news = self.ledger.sync(digests, snapshot.version)
        if not expected:
            self.ledger.suspect(news, now)
        rows = dict(snapshot.rows) if news else {}
        table, version = self.route.table.name, snapshot.version
        for key, effect in news.items():
            yield key, wire.change(self.name, table, effect, key, rows.get(key), version)

    def tell(
        self, effect: Effect, state: State, at: str | None = None
    ) -> tuple[ChangeMessage, Collection[Subscription]] | None:
        """A state that was read → its message, and those who must hear it; None if nobody must.

        What is no news is news still to those who wait for a snapshot, which may be older.
        """
        row = None if effect is Effect.DELETE else state.row
        digest, key = None if row is None else hash(row), state.key_json
        verdict = self.ledger.tell(key, digest, state.version, effect, reading=self.reading)
        if verdict is None:
            return None
        audience: Collection[Subscription] = self.subscriptions
        if not verdict.fresh:
            audience = [s for s in self.subscriptions if s.floor is None]
        if not audience:
            return None
        table = self.route.table.name
        message = wire.change(self.name, table, verdict.effect, key, row, state.version, at)
        return message, audience


class Routes:
    """Every kind of topic there is; iterated over, the most specific first."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._by_table: dict[str, list[Route]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def watch(self, tables: Iterable[Table]) -> list[Topic]:
        """Make topics of these tables and of no others; until then none is known.

        A route that stays as it was is kept, with who follows it. Returns the topics that
        are followed by a route that is no longer theirs.
        """
        followed = list(self.followed())
        before = {(route.table.name, route.template.text): route for route in self._routes}
        self._by_table.clear()
        for table in tables:
            for template in specific(table.templates):
                kept = before.get((table.name, template.text))
                route = kept if kept and kept.table == table else Route(table, template)
                self._by_table[table.name].append(route)
        self._order()
        return [topic for topic in followed if self.route(topic.name) is not topic.route]

    def _order(self) -> None:
        routes = [route for routes in self._by_table.values() for route in routes]
        rank = {id(t): n for n, t in enumerate(specific(route.template for route in routes))}
        self._routes = sorted(routes, key=lambda route: rank[id(route.template)])

    def route(self, name: str) -> Route | None:
        found = (route for route in self._routes if route.template.match(name) is not None)
        return next(found, None)

    def templates(self) -> list[tuple[str, str]]:
        """(table, template) of every kind of topic there is, in the config's order."""
        return [(r.table.name, r.template.text) for rs in self._by_table.values() for r in rs]

    def resolve(self, name: str) -> tuple[Route, tuple[str, ...]]:
        """A topic's name → where it comes from, and its values. Raises ProtocolError."""
        for route in self._routes:
            if (values := route.template.match(name)) is not None:
                return route, values
        known = ", ".join(route.template.text for route in self._routes[:8])
        raise ProtocolError(ErrorCode.UNKNOWN_TOPIC, f"no such topic; there are {known}")

    def of(self, table: str) -> list[Route]:
        return self._by_table[table]

    def followed(self, table: str | None = None) -> Iterator[Topic]:
        """The topics somebody follows, of one table or of all."""
        for route in self._routes if table is None else self._by_table[table]:
            for topics in route.followed.values():
                yield from topics.values()

    def singles(self, table: str, keys: Iterable[Key], viewer: Viewer) -> Iterator[Topic]:
        """The topics that this viewer follows of just one of these keys."""
        single = [route for route in self._by_table[table] if route.single]
        topics = (route.at(route.place(key), viewer) for key in keys for route in single)
        return (topic for topic in topics if topic is not None)

    def follows(self, table: str) -> bool:
        """Whether anybody follows any topic of this table."""
        return any(route.followed for route in self._by_table[table])

    def viewers(self, table: str) -> list[Viewer]:
        """Those who follow any topic of this table."""
        return list(dict.fromkeys(v for route in self._by_table[table] for v in route.followed))

    def wanted(self, table: str, dirty: Sequence[Dirty], viewer: Viewer = None) -> Sequence[Dirty]:
        """Those of the keys whose reading, by this viewer, could concern anybody."""
        routes = [route for route in self._by_table[table] if viewer in route.followed]
        if any(route.every for route in routes):
            return dirty
        return [
            one for one in dirty if any(route.at(route.place(one.key), viewer) for route in routes)
        ]

    def sought(self, table: str, changes: Iterable[Change]) -> set[Key] | None:
        """Those of the changed keys whose reading, by any viewer, could concern anybody; None if
        it could of every key."""
        found: set[Key] = set()
        for route in self._by_table[table]:
            if route.followed:
                if route.every:
                    return None
                place, places = route.place, route.places
                found.update([change.key for change in changes if place(change.key) in places])
        return found

    def missed(self, now: float, patience: float) -> int:
        """How many keys were found changed, and no notification came for them in `patience`.

        Counted from when the debounce of their table was over; each is counted once.
        """
        return sum(
            topic.ledger.missed(now - patience - topic.route.table.max_wait)
            for topic in self.followed()
        )
