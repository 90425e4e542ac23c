"""Which topics a change concerns, and what it does to each of them.

A subscriber sees a topic as a set of rows. A row that moves (its `customer_id`
changes) leaves one set and enters another, so one change can be a delete here and an
insert there. Where the row was before is known from the changes alone: from the old
values they carry, or, where they carry none, from the values it still has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.changes import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from bridge.changes import Dirty, State
    from bridge.topics import Place

    Places = Callable[[tuple[str | None, ...]], Place | None]


def effects(place: Places, dirty: Dirty, state: State) -> Iterator[tuple[Place, Effect]]:
    """(topic, effect) for every topic of a template that must hear of this state.

    `place` is the template's, for values as `state.values` are: the key's, then the routing ones.
    """
    now = place(state.values) if state.row is not None else None
    before = _before(place, dirty, state)
    for topic in before:
        if topic != now:
            yield topic, Effect.DELETE
    if now is not None:
        # A row that is new was in no set before, wherever it has been since.
        known = dirty.existed and now in before
        yield now, Effect.UPDATE if known else Effect.INSERT


def _before(place: Places, dirty: Dirty, state: State) -> Collection[Place]:
    """Topics that may hold the row: where it was seen, else, if it existed, where it is.

    A deleted row whose values nobody told us belongs to no topic that we could name but
    those of its key; the notification of its delete is still to come, and brings them.
    """
    if dirty.old:
        seen = {place(dirty.key + old) for old in dirty.old}
        return {topic for topic in seen if topic is not None}
    here = place(state.values) if dirty.existed or state.row is None else None
    return () if here is None else (here,)
