"""Topics, who follows them, and what they are sent.

The hub never waits for a subscriber: publishing puts messages into mailboxes and
flushes each touched one once. It never reads the database either. What it needs read
it hands out as a `Request`, which takes along the subscriptions that wait *before*
the read begins: one who comes while a read runs waits for the next. So a snapshot
always began after everybody it is for was registered, and nothing falls between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import audience, wire
from bridge.errors import ProtocolError
from bridge.mailbox import Mailbox, everything
from bridge.outbox import Outbox
from bridge.reach import reached
from bridge.routes import Routes, Topic
from bridge.stream import Stream
from bridge.streams import Streams
from bridge.subscription import Subscription
from bridge.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.audience import Missed
    from bridge.changes import Dirty, Key, Snapshot, State
    from bridge.cursor import Moment
    from bridge.mailbox import Permit, Sink
    from bridge.tables import Table
    from bridge.trace import Trace
    from bridge.turns import Request
    from bridge.viewer import Viewer
    from bridge.wire import Message


class Hub:
    """Every topic, subscription and mailbox of this process.

    `on_request` is called when there is something to read; it must not wait. `identity` is
    that of the history of changes that cursors are positions in.
    """

    def __init__(self, *, subscriptions: int = 200) -> None:
        self._limit = subscriptions
        self.routes = Routes()
        self.turns = Turns(self.routes)
        self.streams = Streams(self.routes.of)
        self._topics: dict[tuple[str, Viewer], Topic] = {}
        self.mailboxes: dict[Mailbox, None] = {}
        self.conflated = 0
        self.outbox = Outbox(self._settle)
        self.live = False
        self.identity: str | None = None
        self.trace: Trace | None = None
        self.on_request: Callable[[], None] = lambda: None

    @property
    def subscribers(self) -> int:
        return len(self.mailboxes)

    @property
    def topics(self) -> int:
        return len(self._topics) + self.streams.topics

    # Subscribers come, ask and go.

    def join(self, sink: Sink, greeting: Message, permit: Permit = everything) -> Mailbox:
        mailbox = Mailbox(sink, self._want, permit)
        self.mailboxes[mailbox] = None
        mailbox.reply(greeting)
        if not self.live:
            mailbox.fall_behind()
            mailbox.flush()
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        for subscription in list(mailbox.subscriptions.values()):
            self._remove(subscription)
        self.streams.leave(mailbox)
        if self.mailboxes.pop(mailbox, mailbox) is None:
            self.conflated += mailbox.conflated

    def subscribe(self, mailbox: Mailbox, command: wire.Subscribe) -> None:
        """Register now; reply and snapshot follow when the topic has been read."""
        viewer = mailbox.permit(command.topic)
        route, values = self.routes.resolve(command.topic)
        known = self.streams.drop(mailbox, command.topic)
        if (old := mailbox.subscriptions.get(command.topic)) is not None:
            self._remove(old)
        elif not known and len(self.followed(mailbox)) >= self._limit:
            said = f"at most {self._limit} topics per connection"
            raise ProtocolError(wire.ErrorCode.TOO_MANY_SUBSCRIPTIONS, said)
        if route.table.log:
            self.streams.subscribe(Stream(mailbox, route, values, command, viewer))
            return
        fresh = Topic(command.topic, route, values, viewer)
        topic = self._topics.setdefault((fresh.name, viewer), fresh)
        route.add(topic)
        subscription = Subscription(mailbox, command, viewer)
        mailbox.subscriptions[topic.name] = subscription
        topic.subscriptions[subscription] = None
        self._want(subscription)

    def followed(self, mailbox: Mailbox) -> list[str]:
        return [*mailbox.subscriptions, *self.streams.followed(mailbox)]

    def unsubscribe(self, mailbox: Mailbox, topic: str) -> None:
        if self.streams.unsubscribe(mailbox, topic):
            return
        if (subscription := mailbox.subscriptions.get(topic)) is None:
            raise ProtocolError(wire.ErrorCode.UNKNOWN_TOPIC, "this connection does not follow it")
        self._remove(subscription)
        mailbox.reply(wire.unsubscribed(topic))
        self._settle(mailbox)

    def revoke(self, mailbox: Mailbox, topic: str, error: ProtocolError) -> None:
        """End a subscription with the reason; what it has not been sent yet is not sent."""
        if self.streams.revoke(mailbox, topic, error):
            return
        self._refuse([mailbox.subscriptions[topic]], error)
        self._settle(mailbox)

    def _remove(self, subscription: Subscription) -> None:
        mailbox, topic = subscription.subscriber, self._topic(subscription)
        del mailbox.subscriptions[topic.name]
        mailbox.drop(subscription)
        for farewell in subscription.farewells:
            mailbox.reply(farewell)
        subscription.request = None
        topic.waiting.pop(subscription, None)
        del topic.subscriptions[subscription]
        if not topic.subscriptions:
            del self._topics[topic.name, topic.viewer]
            topic.route.remove(topic)

    def _topic(self, subscription: Subscription) -> Topic:
        return self._topics[subscription.topic, subscription.viewer]

    def look(self, mailbox: Mailbox) -> None:
        """It may have become another viewer: what it saw as the former one begins anew."""
        states = [s for s in mailbox.subscriptions.values() if s.viewer != mailbox.permit(s.topic)]
        anew = [old.again()._replace(snapshot=True) for old in states]
        for command in (*anew, *self.streams.look(mailbox)):
            self.subscribe(mailbox, command)

    def renew(self, tables: Iterable[Table]) -> None:
        """Other tables are served: who follows what is not as it was begins it anew, or is told.

        To be called while nothing is read; nothing is until `resume`, when all is read again.
        """
        self.live = False
        moved = [s for topic in self.routes.watch(tables) for s in topic.subscriptions]
        for subscription in moved:
            self._remove(subscription)
        for topic in self.routes.followed():
            topic.reading = False
        for old in moved:
            self._move(old.subscriber, old.again())
        for mailbox, command in self.streams.renew(self.routes.route):
            self._move(mailbox, command)

    def _move(self, mailbox: Mailbox, command: wire.Subscribe) -> None:
        try:
            self.subscribe(mailbox, command)
        except ProtocolError as error:
            text = f"another config is served now: {error}"
            mailbox.reply(wire.error(error.code, text, command.topic, command.id))
            mailbox.reply(wire.unsubscribed(command.topic))

    # What must be read, and what was.

    def gap(self, table: str | None) -> None:
        """Changes may have been missed: everybody concerned is owed a new snapshot or, of a
        durable table, what the next read shows to have changed."""
        loss = object()
        for topic in self.routes.followed(table):
            topic.moment, topic.loss = None, loss
            topic.ledger.suspects.clear()
            for subscription in topic.subscriptions:
                if topic.route.table.durable and subscription.floor is not None:
                    subscription.owed = loss
                    topic.route.wanted[topic] = None
                    self.on_request()
                else:
                    self._miss(subscription)

    def _miss(self, subscription: Subscription) -> None:
        # Pages that are on their way get to their end first, or one who reads slowly would
        # see nothing but beginnings where gaps are many.
        if subscription.pages or subscription.postponed:
            subscription.postpone()
        else:
            self._want(subscription)

    def requests(self, *, single: int, other: int, now: float) -> Request | None:
        """The next topics to read, at most so many of one route; None if there are none now."""
        return self.turns.request(single, other, now) if self.live else None

    def reconcile(self) -> None:
        """Read everything that is followed, for what no notification told of.

        Who resumed may lack what no trigger saw while it was away: it gets the whole, once.
        """
        for topic in self.routes.followed():
            topic.route.wanted[topic] = None
            for subscription in (s for s in topic.subscriptions if s.unproven):
                self._miss(subscription)
        self.on_request()

    def _want(self, subscription: Subscription) -> None:
        topic = self._topic(subscription)
        subscription.want()
        subscription.subscriber.drop(subscription)
        topic.waiting[subscription] = None
        topic.route.wanted[topic] = None
        self.on_request()

    def again(self, request: Request) -> None:
        """The read failed for reasons of the database: all who waited wait on."""
        for topic, asked in request.topics.items():
            topic.reading = False
            if asked.loss is not None and topic.subscriptions:
                topic.route.wanted[topic] = None
            for subscription in asked.waiting:
                if subscription.request is request:
                    self._want(subscription)
        self.on_request()

    def deliver(
        self,
        request: Request,
        answers: Mapping[Topic, Snapshot | ProtocolError],
        now: float,
        missed: Missed = audience.NOBODY,
    ) -> None:
        """A read is done: each topic has its snapshot, or the reason why it has none. `missed`
        are the changes of those who need no snapshot, because they can resume."""
        told: dict[Mailbox, None] = {}
        for topic, answer in answers.items():
            topic.reading = False
            waiting, owed = audience.concerned(request, topic)
            told.update(dict.fromkeys(s.subscriber for s in (*waiting, *owed)))
            if isinstance(answer, ProtocolError):
                self._refuse((*waiting, *owed), answer)
            else:
                found = audience.tell_news(request, topic, answer, now, self.identity, told)
                audience.bring_up(topic, waiting, answer, missed, self.identity)
                audience.note(self.trace, topic, waiting, found)
        self.outbox.send_anew(told)
        self.on_request()

    def _settle(self, mailbox: Mailbox) -> None:
        if self.live:
            mailbox.settle()

    def _refuse(self, waiting: Iterable[Subscription], error: ProtocolError) -> None:
        for one in waiting:
            self._remove(one)
            one.subscriber.reply(wire.error(error.code, str(error), one.topic, one.id))

    # What changed, and who is told.

    def publish(
        self,
        table: Table,
        dirty: Iterable[Dirty],
        states: Iterable[State],
        moment: Moment | None = None,
        viewer: Viewer = None,
    ) -> int:
        """Tell everybody concerned; returns how many messages were put into mailboxes.

        With these, all changes are told that `moment` sees. The states are as `viewer` sees them.
        """
        routes = [route for route in self.routes.of(table.name) if route.of(viewer)]
        told = reached(routes, {key.key: key for key in dirty}, states, viewer)
        return audience.tell(told, moment, self.identity, self.outbox, self.trace)

    def poison(self, table: Table, keys: Iterable[Key], viewer: Viewer = None) -> None:
        """These keys cannot be read, or not be sent: those who follow just one are told."""
        for topic in self.routes.singles(table.name, keys, viewer):
            audience.poison(topic)

    def stale(self) -> None:
        """The database is out of reach: say so once to everybody."""
        self.live = False
        for mailbox in self.mailboxes:
            mailbox.fall_behind()
        self.outbox.send_anew(self.mailboxes)

    def resume(self) -> None:
        """The database is back: everything followed is read anew, and `live` said after it."""
        self.live = True
        self.gap(None)
        for mailbox in self.mailboxes:
            mailbox.settle()
