"""Whose turn it is to be read, and which topics are read together. Pure; times are seconds.

Who waits for a snapshot must not be given one whose read began before they came. So where
thousands come back at once, each read serves those who were there when it began, and the
next follows at once for those who came meanwhile: as many reads as fit one after the other,
of every topic. When one has served a crowd, its topic rests: a crowd seldom comes alone, and
the rest of it is read to together, once in a `PAUSE`. A topic that few wait for never rests,
and none does that owes its subscribers what a loss has kept from them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.routes import Route, Routes, Topic
    from bridge.subscription import Subscription
    from bridge.viewer import Viewer

CROWD = 10
"""Subscribers that one read serves."""

PAUSE = 1.0
"""Seconds from the beginning of a read that served a crowd to the next of that topic."""


class Asked(NamedTuple):
    """Why a topic is read: for those who wait for a snapshot, and after a loss, if any."""

    waiting: list[Subscription]
    loss: object | None


class Request(NamedTuple):
    """Topics of one route and viewer to be read now, each with those it is read for."""

    route: Route
    topics: dict[Topic, Asked]
    viewer: Viewer = None


class Turns:
    """Routes take turns, lest one that fails starves the others.

    That a topic rests is remembered here, since it may be that nobody follows it meanwhile.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._turn = 0
        self._rests: dict[tuple[str, Viewer], float] = {}

    def request(self, single: int, other: int, now: float) -> Request | None:
        """The next topics to read, at most so many of one route."""
        routes = list(self._routes)
        for _ in routes:
            route = routes[self._turn % len(routes)]
            self._turn += 1
            if topics := [topic for topic in _waiting(route) if self._due(topic) <= now]:
                alike = [topic for topic in topics if topic.viewer == topics[0].viewer]
                chosen = alike[: single if route.single else other]
                self._rest([topic for topic in chosen if len(topic.waiting) >= CROWD], now)
                return _request(route, chosen)
        return None

    def due(self) -> float | None:
        """When the next topic may be read that is to be; None if there is none."""
        due = (self._due(topic) for route in self._routes for topic in _waiting(route))
        return min(due, default=None)

    def _due(self, topic: Topic) -> float:
        if topic.loss is not None:
            return -math.inf
        return self._rests.get((topic.name, topic.viewer), -math.inf)

    def _rest(self, topics: Iterable[Topic], now: float) -> None:
        over = [place for place, until in self._rests.items() if until <= now]
        for place in over:
            del self._rests[place]
        for topic in topics:
            self._rests[topic.name, topic.viewer] = now + PAUSE


def _waiting(route: Route) -> Iterable[Topic]:
    return (topic for topic in route.wanted if not topic.reading)


def _request(route: Route, topics: list[Topic]) -> Request:
    viewer = topics[0].viewer
    request = Request(route, {}, viewer)
    for topic in topics:
        del route.wanted[topic]
        topic.reading = True
        asked = request.topics[topic] = Asked(list(topic.waiting), topic.loss)
        topic.waiting.clear()
        for subscription in asked.waiting:
            subscription.request = request
    return request
