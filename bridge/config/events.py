"""What `events: true` stands for: a log table that no file has to spell out."""

from __future__ import annotations

from bridge.config import EVENTS, TableConfig
from bridge.topics import Template

TOPICS = tuple(map(Template.parse, ("events", "events/{channel}")))


def published(schema: str) -> TableConfig:
    """The entry of the events' table; its position is beside each event, not in it."""
    return TableConfig(
        EVENTS,
        (schema, "events"),
        topics=TOPICS,
        columns=("channel", "version", "event_type", "timestamp", "data", "metadata"),
        mode="log",
        position="position",
    )
