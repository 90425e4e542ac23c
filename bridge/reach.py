"""Which followed topics a state that was read reaches, and what it does to each.

Where policies decide, a row that is not visible looks like one that is gone, and nothing
but what its viewer was told says which topics it was in. So those are asked by their
ledger: a key that nobody was told of is named to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.changes import Effect
from bridge.membership import effects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.changes import Dirty, Key, State
    from bridge.routes import Route, Topic
    from bridge.viewer import Viewer


def reached(
    routes: Sequence[Route],
    dirty: Mapping[Key, Dirty],
    states: Iterable[State],
    viewer: Viewer,
) -> list[tuple[Topic, Effect, State]]:
    """Deletes first: where a key only changed its spelling, the row must survive."""
    gone: list[tuple[Topic, Effect, State]] = []
    there: list[tuple[Topic, Effect, State]] = []
    for state in states:
        for route in routes:
            for topic, effect in _of_route(route, dirty[state.key], state, viewer):
                found = gone if effect is Effect.DELETE else there
                found.append((topic, effect, state))
    return gone + there


def _of_route(
    route: Route, dirty: Dirty, state: State, viewer: Viewer
) -> Iterator[tuple[Topic, Effect]]:
    if viewer is not None and state.row is None:
        yield from ((topic, Effect.DELETE) for topic in _holding(route, viewer, state))
        return
    for place, effect in effects(route.place, dirty, state):
        if (topic := route.at(place, viewer)) is not None:
            yield topic, effect


def _holding(route: Route, viewer: Viewer, state: State) -> Iterator[Topic]:
    """Topics that this row was told in, or may be in a snapshot that is being read."""
    if route.keyed:
        topic = route.at(route.place(state.key), viewer)
        candidates = [topic] if topic is not None else []
    else:
        candidates = list(route.of(viewer).values())
    for topic in candidates:
        if topic.reading or topic.ledger.holds(state.key_json):
            yield topic
