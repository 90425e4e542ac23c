"""One subscription of a log topic, and who hears of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import cursor, wire
from bridge.cursor import Place
from bridge.lane import MESSAGES
from bridge.pace import Pace
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bridge.changes import Event
    from bridge.mailbox import Mailbox
    from bridge.message import Message
    from bridge.routes import Route
    from bridge.trace import Trace
    from bridge.viewer import Viewer


class Stream:
    """`place` is how far it has come; while it is live, it is further than that.

    `kept`: what was published during the read that goes on; None if that was too much, or
    none goes on. `turn` tells a read that is out of date, `failures` how often one failed.
    """

    __slots__ = (
        *("failures", "id", "kept", "live", "mailbox", "opened", "pace", "place"),
        *("reading", "route", "since", "topic", "turn", "values", "viewer"),
    )

    def __init__(
        self,
        mailbox: Mailbox,
        route: Route,
        values: tuple[str, ...],
        command: wire.Subscribe,
        viewer: Viewer = None,
    ) -> None:
        self.mailbox = mailbox
        self.viewer = viewer
        self.route = route
        self.values = values
        self.topic = command.topic
        self.id = command.id
        self.since = command.since
        self.place = Place(0)
        self.opened = self.live = self.reading = False
        self.kept: list[Message] | None = None
        self.pace = Pace()
        self.failures = 0
        self.turn = 0

    def going_on(self, identity: str, settled: int | None) -> wire.Subscribe:
        """The command that goes on from where it is, if up to `settled` was published."""
        since = self.since
        if self.opened:
            live = self.live and settled is not None and settled > self.place.seq
            place = Place(settled or 0) if live else self.place
            since = cursor.of_place(identity, self.topic, place)
        return wire.Subscribe(self.topic, self.id, since=since)

    def as_another(self) -> wire.Subscribe:
        """The command that begins it as another viewer: with what comes now, unless it waits."""
        return wire.Subscribe(self.topic, self.id, since=None if self.opened else self.since)

    def take(self, message: Message) -> bool:
        """An event that was published; False if it was one too many to keep."""
        if self.live:
            self.mailbox.lane.put(message)
            return True
        assert self.kept is not None
        self.kept.append(message)
        return len(self.kept) <= MESSAGES


class Audience:
    """The streams that hear what is published, by topic and viewer: live ones, and those being
    read for."""

    def __init__(self, routes_of: Callable[[str], Sequence[Route]]) -> None:
        self._routes_of = routes_of
        self._by_topic: dict[tuple[str, Viewer], dict[Stream, None]] = {}
        self.trace: Trace | None = None

    def __iter__(self) -> Iterator[Stream]:
        return iter([stream for streams in self._by_topic.values() for stream in streams])

    def add(self, stream: Stream) -> None:
        self._by_topic.setdefault((stream.topic, stream.viewer), {})[stream] = None

    def discard(self, stream: Stream) -> None:
        place = stream.topic, stream.viewer
        hearing = self._by_topic.get(place, {})
        hearing.pop(stream, None)
        if not hearing:
            self._by_topic.pop(place, None)

    def of(self, table: str) -> list[Stream]:
        return [stream for stream in self if stream.route.table.name == table]

    def viewers(self, table: str) -> list[Viewer]:
        """As whom rows of this table are heard of."""
        return list(dict.fromkeys(stream.viewer for stream in self.of(table)))

    def told(self, event: Event) -> Iterator[tuple[str, list[Stream]]]:
        """Each topic that an event belongs to, with those who have not come as far."""
        for topic in dict.fromkeys(self._topics(event)):
            found = self._by_topic.get((topic, event.viewer), ())
            hearing = [stream for stream in found if event.seq > stream.place.seq]
            if hearing:
                self._note(topic, event, hearing)
                yield topic, hearing

    def _note(self, topic: str, event: Event, hearing: Sequence[Stream]) -> None:
        if self.trace is not None and event.state is not None:
            numbers = [stream.mailbox.number for stream in hearing]
            live = sum(stream.live for stream in hearing)
            self.trace.told(event.table, event.state.key, topic, "event", numbers, live)

    def _topics(self, event: Event) -> Iterable[str]:
        if event.state is None:  # it may be anybody's
            return [stream.topic for stream in self.of(event.table)]
        topics = (topic_of(route, event) for route in self._routes_of(event.table))
        return [topic for topic in topics if topic is not None]


def topic_of(route: Route, event: Event) -> str | None:
    """The topic of this kind that an event's row belongs to."""
    assert event.state is not None
    known = dict(zip(route.table.fields, event.state.values, strict=False))
    return route.template.topic(known)


def message(identity: str, topic: str, event: Event, place: Place) -> Message:
    """An event of a topic; `place` is how far who has got it has come."""
    where = cursor.of_place(identity, topic, place)
    if event.state is None:
        said = f"rows of {event.table} were written that cannot be named or read"
        return wire.error(ErrorCode.UNAVAILABLE, said, topic, cursor=where)
    return wire.event(topic, event.table, event.state, where)
