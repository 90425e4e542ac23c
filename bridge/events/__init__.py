"""Events for applications that have no table for them, through SQLAlchemy.

    events = Events()
    with Session(engine) as session, session.begin():
        session.add(order)
        events.publish(session, f"orders/{order.id}", {"total": 5}, event_type="placed")

An event is published by the transaction it is published in: it is there for everybody, in
the table and in the topics `events` and `events/{channel}`, when that commits, and never
was when it rolls back. Needs `events: true` in the bridge's config, and nothing of a
running bridge.
"""

from bridge.events.event import Event as Event
from bridge.events.event import EventError as EventError
from bridge.events.event import InvalidEvent as InvalidEvent
from bridge.events.event import NewEvent as NewEvent
from bridge.events.event import Recorded as Recorded
from bridge.events.event import UnknownEventType as UnknownEventType
from bridge.events.event import VersionConflict as VersionConflict
from bridge.events.store import AsyncEvents as AsyncEvents
from bridge.events.store import Events as Events
from bridge.events.types import EventTypes as EventTypes
