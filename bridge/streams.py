"""Who follows log topics, how far each has come, and what each is sent.

A stream, one subscription of a log topic, is either *live*, and gets what the feed
publishes, or *behind*, and reads pages of the log from its own place: each when the
subscriber has taken the one before. One that is live and does not read falls behind by
itself: nothing is lost, and its memory is bounded.

There is no seam. A read up to the number that was settled when it began is accompanied by
what is published meanwhile, which is kept for the stream. If the read reached that number,
what was kept follows it, and the stream is live; else what was kept is forgotten, for it
will be read. No step of this waits for anything.

A `subscribed` with `resumed: false` that nobody asked for says the one thing that can go
wrong: events are missing between what came before it and what comes after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import cursor, wire
from bridge.cursor import Place
from bridge.stream import Audience, message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from bridge.changes import Event
    from bridge.errors import ProtocolError
    from bridge.mailbox import Mailbox
    from bridge.message import Message
    from bridge.routes import Route
    from bridge.stream import Stream
    from bridge.viewer import Viewer


class Streams:
    """All of one process. `on_due` is called when there is something to read, `on_doubt` when the
    log has to be looked at: somebody follows a topic of it, or it seems to be another one. They
    must not wait."""

    def __init__(self, routes_of: Callable[[str], Sequence[Route]]) -> None:
        self.audience = Audience(routes_of)
        self._of: dict[Mailbox, dict[str, Stream]] = {}
        self._due: dict[Stream, None] = {}
        self._lost = False
        self.identity = ""
        self.settled: int | None = None
        self.on_due: Callable[[], None] = lambda: None
        self.on_doubt: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        """Whether anybody follows a log topic."""
        return bool(self._of)

    # Subscribers come and go.

    @property
    def mailboxes(self) -> list[Mailbox]:
        return list(self._of)

    @property
    def topics(self) -> int:
        return len({topic for streams in self._of.values() for topic in streams})

    def followed(self, mailbox: Mailbox) -> list[str]:
        """The topics that it follows."""
        return list(self._of.get(mailbox, ()))

    def subscribe(self, stream: Stream) -> None:
        """The answer follows when the topic has been looked at; nothing is sent before it."""
        mailbox = stream.mailbox
        mailbox.lane.on_empty = lambda: self._emptied(mailbox)
        self._of.setdefault(mailbox, {})[stream.topic] = stream
        self._due[stream] = None
        self.on_doubt()
        self.on_due()

    def unsubscribe(self, mailbox: Mailbox, topic: str) -> bool:
        """Answers, behind what was sent of other topics; False if it is not followed."""
        if not self.drop(mailbox, topic):
            return False
        mailbox.lane.put(wire.unsubscribed(topic))
        mailbox.flush()
        return True

    def leave(self, mailbox: Mailbox) -> None:
        for topic in list(self._of.get(mailbox, ())):
            self.drop(mailbox, topic)

    def drop(self, mailbox: Mailbox, topic: str) -> bool:
        """Forget it, and what is unsent of it; False if it is not followed."""
        stream = self._of.get(mailbox, {}).pop(topic, None)
        if stream is None:
            return False
        if not self._of[mailbox]:
            del self._of[mailbox]
        stream.turn += 1
        self._due.pop(stream, None)
        self._deafen(stream)
        mailbox.lane.drop(topic)
        return True

    # What has to be read, and what was.

    def next(self) -> Stream | None:
        """One that needs a read, taken off the list; None if there is none, or no order yet."""
        if self.settled is None or not self._due:
            return None
        stream = next(iter(self._due))
        del self._due[stream]
        stream.reading = True
        return stream

    def again(self, stream: Stream, turn: int) -> None:
        """The read failed for a reason that may pass."""
        if stream.turn == turn:
            self._deafen(stream)
            self._await(stream)

    def opened(self, stream: Stream, turn: int, place: Place, *, resumed: bool) -> None:
        """It was looked at: answer, and begin at that place."""
        if stream.turn == turn:
            stream.opened = True
            self._greet(stream, place, resumed=resumed)
            self._await(stream)

    def refuse(self, stream: Stream, turn: int, error: ProtocolError) -> None:
        """It cannot be followed, or no longer."""
        if stream.turn == turn:
            self.revoke(stream.mailbox, stream.topic, error)

    def revoke(self, mailbox: Mailbox, topic: str, error: ProtocolError) -> bool:
        """End it with the reason; False if it is not followed."""
        stream = self._of.get(mailbox, {}).get(topic)
        if stream is None:
            return False
        self.drop(mailbox, topic)
        mailbox.lane.put(wire.error(error.code, str(error), topic, stream.id))
        mailbox.flush()
        return True

    def accompany(self, stream: Stream) -> int:
        """A read begins: keep what is published from here on. Returns what is settled now."""
        assert self.settled is not None
        stream.kept = []
        self.audience.add(stream)
        return self.settled

    def bring(
        self, stream: Stream, turn: int, messages: Sequence[Message], place: Place, target: int
    ) -> None:
        """A page was read, up to that place; `target` is what `accompany` said before it."""
        if stream.turn != turn:
            return
        stream.place, stream.failures = place, 0
        kept = stream.kept
        self._deafen(stream)
        stream.mailbox.lane.extend(messages)
        if kept is not None and place.after is None and place.seq >= target:
            stream.mailbox.lane.extend(kept)
            self._enliven(stream)
        stream.mailbox.flush()
        self._await(stream)

    def lost(self, stream: Stream, turn: int) -> None:
        """The log no longer has what comes next: say so, and go on with what comes now."""
        if stream.turn == turn:
            self._begin_anew(stream)

    def _await(self, stream: Stream) -> None:
        """Have it read on as soon as the subscriber has taken what it was sent."""
        stream.reading = False
        if not stream.live and not stream.mailbox.lane:
            self._due[stream] = None
            self.on_due()

    def _emptied(self, mailbox: Mailbox) -> None:
        for stream in self._of.get(mailbox, {}).values():
            if not stream.live and not stream.reading:
                self._due[stream] = None
                self.on_due()

    # What was settled, and who is told.

    def begin(self, identity: str, settled: int) -> None:
        """There is an order from here on; after a loss, or in another history, a new one."""
        anew = self._lost or (self.identity and self.identity != identity)
        self.identity, self.settled, self._lost = identity, settled, False
        opened = [s for streams in self._of.values() for s in streams.values() if s.opened]
        for stream in opened if anew else ():
            self._begin_anew(stream)
        self.on_due()

    def end(self) -> None:
        """Nobody follows, so nobody reads: what is settled is not known any more."""
        self.settled = None

    def lose(self) -> None:
        """What comes has no part in what was sent: everybody waits until there is an order."""
        self.settled, self._lost = None, True
        for streams in self._of.values():
            for stream in streams.values():
                stream.turn += stream.opened
                self._deafen(stream)

    def fall_back(self, table: str, read: Collection[Viewer] = ()) -> None:
        """What is published next of this table was read for these viewers: others read it later."""
        for stream in self.audience.of(table):
            if stream.viewer not in read:
                self._fall_behind(stream)

    def publish(self, events: Sequence[Event], settled: int) -> int:
        """In order; everything up to `settled` is among them. Returns how many were sent."""
        touched: dict[Mailbox, None] = {}
        count = 0
        for event in events:
            for topic, streams in self.audience.told(event):
                told = message(self.identity, topic, event, Place(event.seq))
                count += self._tell(streams, told, touched)
        self.settled = settled
        for mailbox in touched:
            self._send(mailbox)
        return count

    def _tell(self, streams: Sequence[Stream], told: Message, touched: dict[Mailbox, None]) -> int:
        count = 0
        for stream in streams:
            if not stream.take(told):
                self._deafen(stream)
            elif stream.live:
                touched[stream.mailbox] = None
                count += 1
        return count

    def _send(self, mailbox: Mailbox) -> None:
        mailbox.flush()
        if mailbox.lane.full:
            for stream in self._of[mailbox].values():
                self._fall_behind(stream)

    def look(self, mailbox: Mailbox) -> list[wire.Subscribe]:
        """How topics begin anew that it sees as another viewer from now on."""
        streams = self._of.get(mailbox, {}).values()
        return [s.as_another() for s in streams if s.viewer != mailbox.permit(s.topic)]

    def renew(
        self, route_of: Callable[[str], Route | None]
    ) -> list[tuple[Mailbox, wire.Subscribe]]:
        """Other tables are served, and reads that went on have ended. Returns who follows what is
        not as it was, with how to go on; the others read on."""
        streams = [stream for found in self._of.values() for stream in found.values()]
        moved = [stream for stream in streams if route_of(stream.topic) is not stream.route]
        for stream in streams:
            stream.turn += 1
            if not stream.live:
                self._deafen(stream)
                self._await(stream)
        commands = [(s.mailbox, s.going_on(self.identity, self.settled)) for s in moved]
        for stream in moved:
            self.drop(stream.mailbox, stream.topic)
        return commands

    # From one to the other.

    def _greet(self, stream: Stream, place: Place, *, resumed: bool) -> None:
        assert self.settled is not None
        stream.place = place
        at = cursor.of_place(self.identity, stream.topic, place)
        greeting = wire.subscribed(stream.topic, stream.id, resumed=resumed, cursor=at)
        if place.after is None and place.seq >= self.settled:
            self._enliven(stream)
        stream.mailbox.lane.put(greeting)
        stream.mailbox.flush()

    def _begin_anew(self, stream: Stream) -> None:
        assert self.settled is not None
        stream.turn += 1
        self._due.pop(stream, None)
        self._deafen(stream)
        self._greet(stream, Place(self.settled), resumed=False)

    def _enliven(self, stream: Stream) -> None:
        stream.live, stream.kept = True, None
        self.audience.add(stream)

    def _fall_behind(self, stream: Stream) -> None:
        """All up to what is settled is on its way, so it goes on from there."""
        assert self.settled is not None
        if stream.live:
            stream.place = Place(max(self.settled, stream.place.seq))
            self._deafen(stream)
            self._await(stream)
        elif stream.kept is not None:
            self._deafen(stream)

    def _deafen(self, stream: Stream) -> None:
        stream.live, stream.kept = False, None
        self.audience.discard(stream)
