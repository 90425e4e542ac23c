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
    from collections.abc import Iterator, Sequence

    from bridge.changes import Dirty, State
    from bridge.topics import Template


def effects(
    template: Template, fields: Sequence[str], dirty: Dirty, state: State
) -> Iterator[tuple[str, Effect]]:
    """(topic, effect) for every topic of the template that must hear of this state.

    `fields` names the values of `state.values`: the key's columns, then the routing ones.
    """
    now = _topic(template, fields, state.values) if state.row is not None else None
    before = _before(template, fields, dirty, state)
    for topic in before:
        if topic != now:
            yield topic, Effect.DELETE
    if now is not None:
        # A row that is new was in no set before, wherever it has been since.
        known = dirty.existed and now in before
        yield now, Effect.UPDATE if known else Effect.INSERT


def _before(template: Template, fields: Sequence[str], dirty: Dirty, state: State) -> set[str]:
    """Topics that may hold the row: where it was seen, else, if it existed, where it is.

    A deleted row whose values nobody told us belongs to no topic that we could name but
    those of its key; the notification of its delete is still to come, and brings them.
    """
    seen = {_topic(template, fields, dirty.key + old) for old in dirty.old}
    if not dirty.old and (dirty.existed or state.row is None):
        seen = {_topic(template, fields, state.values)}
    return {topic for topic in seen if topic is not None}


def _topic(template: Template, fields: Sequence[str], values: Sequence[str | None]) -> str | None:
    known = dict(zip(fields, values, strict=False))
    return template.topic(known) if all(column in known for column in template.columns) else None
