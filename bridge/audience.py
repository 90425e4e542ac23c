"""Putting into mailboxes what a topic's subscribers have to hear, with where to resume from.

A cursor goes with the message after which everything is told that the cursor's moment
sees. The messages before it in a batch carry the one before: who gets a part of a batch
resumes from where the batch began. Where a newer message takes the place of an unsent
one, the key it is about has changed after every cursor that was said meanwhile, so who
resumes from one of those is told of the key again.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from bridge import wire
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.changes import Effect, Snapshot, State
    from bridge.cursor import Moment
    from bridge.mailbox import Mailbox, Subscription
    from bridge.routes import Topic
    from bridge.trace import Trace
    from bridge.turns import Request
    from bridge.wire import ChangeMessage, Message

Missed: TypeAlias = "Mapping[Subscription, Sequence[tuple[str, ChangeMessage]]]"
"""Of those who resume, the changes that they have missed, by key."""

NOBODY: Missed = MappingProxyType({})


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
    touched: dict[Mailbox, None],
    trace: Trace | None = None,
) -> int:
    """Tell of states that were read; returns how many messages were put into mailboxes."""
    count = 0
    last = {topic: n for n, (topic, _, _) in enumerate(told)}
    for n, (topic, effect, state) in enumerate(told):
        if last[topic] == n:
            topic.advance(moment)
        if telling := topic.tell(effect, state, topic.cursor(identity)):
            message, hearers = telling
            sent = offer(hearers, state.key_json, message, touched)
            count += sent
            topic.sent += sent
            if trace is not None:
                numbers = [s.subscriber.number for s in hearers]
                about = topic.route.table.name, state.key, topic.name, message.effect
                trace.told(*about, numbers, sent)
        elif trace is not None:
            trace.repeated(topic.route.table.name, state.key, topic.name)
    return count


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
    for n, (key, message) in enumerate(news, 1):
        offer(others, key, message.at(at) if at and n == len(news) else message, touched)
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


def offer(
    hearers: Iterable[Subscription],
    key: str,
    message: ChangeMessage,
    touched: dict[Mailbox, None],
) -> int:
    """Put a change into mailboxes; returns into how many."""
    count = 0
    for subscription in hearers:
        if subscription.offer(key, message):
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
    return wire.error(ErrorCode.UNAVAILABLE, "a row of this topic cannot be read", topic.name)
