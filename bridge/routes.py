"""The topics that somebody follows, by the template they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bridge.changes import Key
    from bridge.mailbox import Subscription
    from bridge.tables import Table
    from bridge.topics import Template


class Route:
    """One template of one table, and the topics of it that somebody follows.

    `keyed`: a row's key alone decides its topic. `single`: a topic holds one row at most.
    """

    __slots__ = ("followed", "keyed", "single", "table", "template", "wanted")

    def __init__(self, table: Table, template: Template) -> None:
        self.table = table
        self.template = template
        key = {column.name for column in table.key}
        self.keyed = key.issuperset(template.columns)
        self.single = key == set(template.columns)
        self.followed: dict[str, Topic] = {}
        self.wanted: dict[Topic, None] = {}

    def topic_of(self, key: Key) -> str | None:
        """The topic a key belongs to, where the key alone decides."""
        return self.template.topic(dict(zip(self.table.fields, key, strict=False)))


class Topic:
    """A topic somebody follows; `waiting` are owed a snapshot that nobody reads yet."""

    __slots__ = ("name", "route", "subscriptions", "values", "waiting")

    def __init__(self, name: str, route: Route, values: tuple[str, ...]) -> None:
        self.name = name
        self.route = route
        self.values = values
        self.subscriptions: dict[Subscription, None] = {}
        self.waiting: dict[Subscription, None] = {}


class Request(NamedTuple):
    """Topics of one route to be read now, each with those who wait for it."""

    route: Route
    topics: dict[Topic, list[Subscription]]
