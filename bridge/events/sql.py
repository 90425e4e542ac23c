"""What is asked of the database, and what its answers mean. No statement is run here.

JSON is bound and read as SQLAlchemy's own JSONB, so by the serialiser of the
application's engine; a driver is known by nothing but the SQLSTATE of its errors.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from bridge.event_store import CONFLICT
from bridge.events.event import Event, InvalidEvent, NewEvent, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.events.types import EventTypes

_APPEND = """
SELECT a."position", a.version, a."timestamp"
FROM SCHEMA.append(:channel, :events, :expected_version) AS a
"""
_QUOTE = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]
_CONFLICT = re.compile(r"is at version (\d+), not (-?\d+)")


def table(schema: str) -> sa.Table:
    """`events`, to be read; applications may join it to their own."""
    return sa.Table(
        "events",
        sa.MetaData(schema=schema),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
    )


def appending(
    schema: str, channel: str, events: Sequence[NewEvent], expected_version: int | None
) -> sa.TextClause:
    written = [
        {"event_type": one.event_type, "data": one.data, "metadata": dict(one.metadata)}
        for one in events
    ]
    # Not by `sa.func`, which does not quote a schema's name that is a word of SQL.
    quoted = _QUOTE(schema).replace(":", r"\:")
    return sa.text(_APPEND.replace("SCHEMA", quoted)).bindparams(
        sa.bindparam("channel", channel, sa.Text),
        sa.bindparam("events", written, JSONB),
        sa.bindparam("expected_version", expected_version, sa.BigInteger),
    )


def last(events: sa.Table, channel: str | None) -> sa.Select[Any]:
    """The newest event of a channel, or of all."""
    return _ordered(events, channel, newest=True).limit(1)


def page(events: sa.Table, channel: str | None, after: int, limit: int) -> sa.Select[Any]:
    """The next events: of a channel by version, of all by position."""
    return _ordered(events, channel).where(_place(events, channel) > after).limit(limit)


def place(event: Event, channel: str | None) -> int:
    """Where the next page begins after this event."""
    return event.position if channel is None else event.version


def checked(types: EventTypes | None, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
    """The events, if their types take them."""
    for event in events if types else ():
        assert types is not None
        types.check(event.event_type, event.data)
    return events


@contextmanager
def explained(channel: str) -> Iterator[None]:
    """Errors of the database as ours, where they are about the event."""
    try:
        yield
    except (TypeError, ValueError) as error:  # the serialiser's, where the driver calls it
        raise InvalidEvent(f"channel {channel!r}: {error}") from error
    except sa.exc.StatementError as error:
        raise _translated(error, channel) or error from error.orig


def _translated(error: sa.exc.StatementError, channel: str) -> Exception | None:
    if isinstance(error.orig, (TypeError, ValueError)):  # the serialiser's as well
        return InvalidEvent(f"channel {channel!r}: {error.orig}")
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    if state == CONFLICT and (found := _CONFLICT.search(str(error.orig))):
        return VersionConflict(channel, int(found[2]), int(found[1]))
    if state.startswith("22"):  # of data: no JSON, no event, a number too large
        return InvalidEvent(f"channel {channel!r}: {str(error.orig).splitlines()[0]}")
    return None


def _ordered(events: sa.Table, channel: str | None, *, newest: bool = False) -> sa.Select[Any]:
    order = _place(events, channel)
    query = sa.select(events).order_by(order.desc() if newest else order)
    return query if channel is None else query.where(events.c.channel == channel)


def _place(events: sa.Table, channel: str | None) -> sa.Column[int]:
    return events.c.position if channel is None else events.c.version
