"""Putting into mailboxes what a topic's subscribers have to hear, with where to resume from.

A cursor goes with the message after which everything is told that the cursor's moment
sees. The messages before it in a batch carry the one before: who gets a part of a batch
resumes from where the batch began. Where a newer message takes the place of an unsent
one, the key it is about has changed after every cursor that was said meanwhile, so who
resumes from one of those is told of the key again.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bridge import wire
from bridge.wire import ErrorCode, News

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bridge.changes import Effect, Snapshot, State
    from bridge.cursor import Moment
    from bridge.mailbox import Mailbox
    from bridge.outbox import Outbox
    from bridge.routes import Topic
    from bridge.subscription import Subscription
    from bridge.trace import Trace
    from bridge.turns import Request
    from bridge.wire import ChangeMessage, Message

Missed: TypeAlias = "Mapping[Subscription, Sequence[tuple[str, ChangeMessage]]]"
"""Of those who resume, the changes that they have missed, by key."""

NOBODY: Missed = MappingProxyType({})


class Heard(NamedTuple):
    """A change that a topic is told: to `everybody`, or only to who waits for a snapshot."""

    key: str
    message: ChangeMessage
    everybody: bool


def concerned(request: Request, topic: Topic) -> tuple[list[Subscription], list[Subscription]]:
    """Who still waits for this read's snapshot, and who for what a loss kept from them."""
    asked = request.topics[topic]
    waiting = [s for s in asked.waiting if s.request is request]
    owed = [s for s in topic.subscriptions if s.owed is not None and s.owed is asked.loss]
    return waiting, owed


def tell(
    told: Sequence[tuple[Topic, Effect, State]],
    moment: Moment | None,
    identity: str | None,
    outbox: Outbox,
    trace: Trace | None = None,
) -> int:
    """Tell of states that were read; returns how many messages were put into mailboxes."""
    heard: dict[Topic, list[Heard]] = {}
    last = {topic: n for n, (topic, _, _) in enumerate(told)}
    for n, (topic, effect, state) in enumerate(told):
        if last[topic] == n:
            topic.advance(moment)
        if telling := topic.tell(effect, state, topic.cursor(identity)):
            message, hearers = telling
            everybody = hearers is topic.subscriptions
            heard.setdefault(topic, []).append(Heard(state.key_json, message, everybody))
            if trace is not None:
                _trace(trace, topic, state, message, hearers)
        elif trace is not None:
            trace.repeated(topic.route.table.name, state.key, topic.name)
    outbox.begin()
    touched: dict[Mailbox, None] = {}
    # Who follows several topics gets all that is told in one write.
    write = outbox.tell if len(heard) == 1 else None
    count = 0
    for topic, changes in heard.items():
        sent = hand_out(topic.name, topic.subscriptions, changes, touched, write)
        topic.sent += sent
        count += sent
    outbox.send(touched)
    return count


def _trace(
    trace: Trace,
    topic: Topic,
    state: State,
    message: ChangeMessage,
    hearers: Collection[Subscription],
) -> None:
    numbers = [s.subscriber.number for s in hearers]
    sent = sum(s.floor is not None and s.floor <= message.version for s in hearers)
    trace.told(topic.route.table.name, state.key, topic.name, message.effect, numbers, sent)


def tell_news(
    request: Request,
    topic: Topic,
    snapshot: Snapshot,
    now: float,
    identity: str | None,
    touched: dict[Mailbox, None],
) -> int:
    """Tell those who do not wait for this read what it shows that nothing told them of.

    Returns how many keys that is.
    """
    asked = request.topics[topic]
    news = list(topic.sync(snapshot, now, expected=asked.loss is not None))
    if topic.loss is asked.loss:
        topic.loss = None
    topic.advance(snapshot.moment)
    at = topic.cursor(identity)
    others = [s for s in topic.subscriptions if s.request is not request]
    if news and at:
        news[-1] = news[-1][0], news[-1][1].at(at)
    heard = [Heard(key, message, everybody=True) for key, message in news]
    hand_out(topic.name, others, heard, touched)
    for subscription in concerned(request, topic)[1]:
        subscription.owed = None
    return len(news)


def bring_up(
    topic: Topic,
    waiting: Iterable[Subscription],
    snapshot: Snapshot,
    missed: Missed,
    identity: str | None,
) -> None:
    """Those who wait get the snapshot, or what they have missed."""
    pages: list[Message] | None = None
    at = topic.at(identity, snapshot.moment)
    shown = dict(snapshot.rows) if topic.viewer is not None else {}
    for subscription in waiting:
        if topic.viewer is not None:
            subscription.forget(shown)
        if (changes := missed.get(subscription)) is not None:
            subscription.resume(changes, snapshot.version, at)
        else:
            pages = pages or wire.snapshot(topic.name, snapshot.rows, snapshot.version, at)
            subscription.bring_up(pages, snapshot.version)
        subscription.subscriber.mark(subscription)
        if snapshot.refused:
            subscription.subscriber.reply(unreadable(topic))


def hand_out(
    topic: str,
    hearers: Collection[Subscription],
    changes: Sequence[Heard],
    touched: dict[Mailbox, None],
    write: Callable[[Iterable[Mailbox], News], Iterable[Mailbox]] | None = None,
) -> int:
    """Put changes of a topic into mailboxes; returns how many messages that makes.

    Who is owed nothing else gets what all of those get, as one piece that they share; it need
    not be put into the mailboxes that `write` writes, which returns the others.
    """
    news = _news(topic, changes)
    level, others = _apart(hearers, news)
    count = sum([_offer(one, changes, touched) for one in others])
    if news is not None:
        put = (news,)
        for mailbox in level if write is None else write(level, news):
            mailbox.put(put)
            touched[mailbox] = None
        count += len(level) * len(news)
    return count


def _apart(
    hearers: Collection[Subscription], news: News | None
) -> tuple[list[Mailbox], Collection[Subscription]]:
    """Those whose snapshot is no newer than any of the news, and the others."""
    if news is None:
        return [], hearers
    oldest = news.oldest
    level = [s.subscriber for s in hearers if s.floor is not None and s.floor <= oldest]
    if len(level) == len(hearers):
        return level, ()
    return level, [s for s in hearers if s.floor is None or s.floor > oldest]


def _news(topic: str, changes: Sequence[Heard]) -> News | None:
    """What everybody hears, each key once."""
    shared: dict[str, ChangeMessage] = {}
    for key, message, everybody in changes:
        if everybody:
            before = shared.pop(key, None)
            shared[key] = message if before is None else message.after(before)
    return News(topic, list(shared.items())) if shared else None


def _offer(
    subscription: Subscription, changes: Sequence[Heard], touched: dict[Mailbox, None]
) -> int:
    count = 0
    for key, message, everybody in changes:
        if (everybody or subscription.floor is None) and subscription.offer(key, message):
            subscription.subscriber.mark(subscription)
            touched[subscription.subscriber] = None
            count += 1
    return count


def note(trace: Trace | None, topic: Topic, waiting: Sequence[Subscription], found: int) -> None:
    """Have it remembered who got a topic's snapshot, and how much of it was news."""
    if trace is not None:
        table = topic.route.table.name
        if found:
            trace.found(table, topic.name, found)
        if waiting:
            trace.snapshot(table, topic.name, [s.subscriber.number for s in waiting])


def poison(topic: Topic) -> None:
    """The row that this topic holds cannot be read."""
    for subscription in topic.subscriptions:
        subscription.subscriber.reply(unreadable(topic))


def unreadable(topic: Topic) -> Message:
    why = "a row of this topic cannot be read, or is larger than limits.row"
    return wire.error(ErrorCode.UNAVAILABLE, why, topic.name)
