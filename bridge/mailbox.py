"""What one subscriber is still owed.

A mailbox conflates: per subscription it holds the pages of one snapshot and, per key,
the newest change. A subscriber that reads slowly gets fewer and newer states, and
costs memory for the keys it follows, never for the updates they get. Past `CAPACITY`
unsent changes a subscription forgets them and is owed a new snapshot instead, once the
reader has taken the pages that it was being sent: so even the slowest gets to the end.

What a flush tells many alike is put here as it is, and goes out as it is to who is owed
nothing else and takes it. In any other case it is unfolded into what is kept by key, and
always before that is looked at or changed.

Nothing here waits. `flush` writes while the sink takes it; the sink calls `flush`
again when it can take more.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Protocol

from bridge import wire
from bridge.lane import NOTHING, Lane
from bridge.wire import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from bridge.subscription import Subscription
    from bridge.viewer import Viewer
    from bridge.wire import Message, News

    Permit: TypeAlias = Callable[[str], Viewer]

CHUNK = 256 * 1024
"""Characters handed to the sink at a time, so that one slow reader cannot fill its buffer."""

PUT = 8
"""Pieces of news that are put into a mailbox before they are unfolded."""

_numbers = count(1)


def everything(_topic: str) -> Viewer:
    """Permits it, to nobody in particular. Another `Permit` may say as whom its subscriber sees
    the topic, and raises ProtocolError for what it may not follow."""
    return None


class Sink(Protocol):
    """A subscriber's connection, as the hub sees it."""

    @property
    def writable(self) -> bool:
        """Whether a write would go out now rather than pile up."""

    def write(self, bundle: Bundle) -> None:
        """Send all of these in one go, if `writable`; never waits, never raises."""

    @property
    def stalled_since(self) -> float | None:
        """The loop's time since when the peer has taken nothing, or None."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection, within seconds even if the peer does not read."""


class Mailbox:
    """One subscriber: its subscriptions, and what it has not been sent yet.

    `number` is what it goes by in this process.
    """

    __slots__ = (
        *("_news", "_ready", "_replies", "behind", "conflated", "lane", "number"),
        *("on_overflow", "permit", "sink", "subscriptions"),
    )

    def __init__(
        self,
        sink: Sink,
        on_overflow: Callable[[Subscription], None],
        permit: Permit = everything,
    ) -> None:
        self.sink = sink
        self.number = next(_numbers)
        self.on_overflow = on_overflow
        self.permit = permit
        self.subscriptions: dict[str, Subscription] = {}
        self.behind = False
        self.conflated = 0
        self.lane = Lane()
        self._news: tuple[News, ...] = ()
        self._ready: dict[Subscription, None] = {}
        self._replies: deque[Message] = NOTHING

    @property
    def unsent(self) -> int:
        """Changes, pages and events that the subscriber has not taken yet."""
        self.unfold()
        return sum(len(s.changes) + len(s.pages) for s in self._ready) + len(self.lane)

    def reply(self, message: Message) -> None:
        """Send something that is not about a topic's rows; replies keep their order."""
        self._say(message)
        self.flush()

    def _say(self, message: Message) -> None:
        if not self._replies:
            self._replies = deque()
        self._replies.append(message)

    def recall(self, topic: str) -> Sequence[Message]:
        """Take back that a topic was left, if it is not sent yet: rows go before replies, and this
        before some rows."""
        if not self._replies:
            return ()
        text = wire.unsubscribed(topic).text
        recalled = tuple(reply for reply in self._replies if reply.text == text)
        for reply in recalled:
            self._replies.remove(reply)
        return recalled

    def mark(self, subscription: Subscription) -> None:
        """This subscription has something to send."""
        self._ready[subscription] = None

    def drop(self, subscription: Subscription) -> None:
        self.unfold()
        self._ready.pop(subscription, None)

    def put(self, news: tuple[News, ...]) -> None:
        """News of a topic whose subscription has its snapshot, and one no newer than any of these.

        Where there were none, nothing is made here: all share the tuple.
        """
        if len(self._news) >= PUT:
            self.unfold()
        self._news = self._news + news if self._news else news

    def tell(self, news: News) -> None:
        """Put and flush, without the putting where it can be left out."""
        busy = self._news or self._ready or self._replies or self.lane.messages
        if not busy and news.size <= CHUNK and self.sink.writable:
            self.sink.write(news)
        else:
            self.put((news,))
            self.flush()

    def unfold(self) -> None:
        """From now on, what was put here is kept by key."""
        if self._news:
            put, self._news = self._news, ()
            for news in put:
                self._keep(news)

    def _keep(self, news: News) -> None:
        # Who has just left the topic is not told of it any more.
        if (subscription := self.subscriptions.get(news.topic)) is not None:
            for key, message in news.changes:
                if subscription.offer(key, message):
                    self.mark(subscription)

    def flush(self) -> None:
        """Write what is owed for as long as the sink takes it."""
        if self._news:
            self._pass_on()
        while (self._ready or self._replies or self.lane.messages) and self.sink.writable:
            if taken := self._take():
                self.sink.write(Bundle(taken))

    def _pass_on(self) -> None:
        """Write what was put here as it is, if nothing is in its way."""
        put = self._news
        bundle = put[0] if len(put) == 1 else Bundle([m for news in put for m in news])
        if self._ready or bundle.size > CHUNK or self.lane.messages or not self.sink.writable:
            self.unfold()
        else:
            self._news = ()
            self.sink.write(bundle)

    def fall_behind(self) -> None:
        """The database is out of reach: say `stale`, once, with the next flush."""
        if not self.behind:
            self.behind = True
            self._say(wire.status("stale"))

    def settle(self) -> None:
        """After a loss: say `live` once no snapshot is owed any more, nor an event."""
        level = all(subscription.level for subscription in self.subscriptions.values())
        if self.behind and level and not self.lane.behind:
            self.behind = False
            self.reply(wire.status("live"))

    def _take(self) -> list[Message]:
        """Up to CHUNK characters: rows first, then replies, so that no `live` overtakes a row."""
        taken = self.lane.take(CHUNK)
        room = CHUNK - sum(len(message.text) for message in taken)
        while self._ready and room > 0:
            subscription = next(iter(self._ready))
            taken += subscription.farewells
            subscription.farewells = ()
            if subscription.greeting is not None:
                taken.append(subscription.greeting)
                subscription.greeting = None
            while subscription.pages and room > 0:
                taken.append(subscription.pages.popleft())
                room -= len(taken[-1].text)
            while not subscription.pages and subscription.changes and room > 0:
                taken.append(subscription.changes.pop(next(iter(subscription.changes))))
                room -= len(taken[-1].text)
            if not subscription.pages and not subscription.changes:
                subscription.pages = NOTHING
                self._finish(subscription)
        while self._replies and room > 0:
            taken.append(self._replies.popleft())
            room -= len(taken[-1].text)
        if not self._replies:
            self._replies = NOTHING
        return taken

    def _finish(self, subscription: Subscription) -> None:
        del self._ready[subscription]
        if subscription.postponed:
            subscription.postponed = False
            self.on_overflow(subscription)
