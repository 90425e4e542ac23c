"""The client for publishers, over SQLAlchemy, sync and async."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from bridge import config as config_file
from bridge import migrate
from bridge.errors import BridgeError
from bridge.events import (
    AsyncEvents,
    Event,
    Events,
    EventTypes,
    InvalidEvent,
    NewEvent,
    UnknownEventType,
    VersionConflict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PLACED = {
    "title": "An order was placed",
    "description": "By a customer, and not yet paid.",
    "type": "object",
    "properties": {
        "total": {"type": "number", "minimum": 0, "description": "in euros | with VAT"},
        "items": {"type": "array", "minItems": 1},
        "at": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["total"],
    "additionalProperties": False,
}
TYPES = EventTypes({"order.placed": PLACED, "order.sent": True})


@pytest.fixture
def url(database: str) -> str:
    """A database with events, in a schema whose name has to be quoted, as SQLAlchemy wants it."""
    text = "events: true\nschema: user\n"
    config = config_file.loads(text, env={"DATABASE_URL": database})
    migrate.apply(config, progress=lambda _: None)
    return database.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    engine = sa.create_engine(url)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
async def asynchronous(url: str) -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


events = Events(schema="user")
typed = Events(TYPES, schema="user")


def test_publish_latest_replay(session: Session) -> None:
    first = events.publish(session, "orders/1", {"total": 5}, event_type="placed")
    second = events.publish(session, "orders/1", None, metadata={"user": "ö"})
    events.publish(session, "orders/2", "text")
    session.commit()
    assert (first.position, first.version) == (1, 1)
    assert isinstance(first.timestamp, datetime)
    assert first.timestamp.tzinfo is not None
    assert events.latest(session, "orders/1") == Event(
        2, "orders/1", 2, "event", second.timestamp, None, {"user": "ö"}
    )
    newest = events.latest(session)
    assert newest is not None
    assert newest.data == "text"
    assert events.latest(session, "orders/3") is None
    assert [one.data for one in events.replay(session, "orders/1")] == [{"total": 5}, None]
    assert [one.position for one in events.replay(session)] == [1, 2, 3]


def test_an_event_is_the_transactions(session: Session, url: str) -> None:
    session.execute(sa.text("CREATE TABLE orders (id int)"))
    session.commit()
    session.execute(sa.text("INSERT INTO orders VALUES (1)"))
    events.publish(session, "a", 1)
    session.rollback()
    assert list(events.replay(session)) == []
    session.execute(sa.text("INSERT INTO orders VALUES (1)"))
    assert events.publish(session, "a", 1).version == 1
    session.commit()
    assert session.execute(sa.text("SELECT count(*) FROM orders")).scalar() == 1


def test_a_connection_will_do(session: Session) -> None:
    with session.get_bind().connect() as connection, connection.begin():
        events.publish(connection, "a", 1)
    assert events.latest(session, "a") is not None


@pytest.mark.parametrize("many", [0, 1, 6, 7, 14, 20])
def test_a_replay_goes_page_by_page(session: Session, many: int) -> None:
    if many:
        events.append(session, "a", [NewEvent(n) for n in range(many)])
    events.publish(session, "b", "other")
    asked: list[str] = []
    engine = session.get_bind()
    sa.event.listen(engine, "before_cursor_execute", lambda *say: asked.append(say[2]))
    replay = events.replay(session, "a", page=7)
    assert [one.data for one in replay] == list(range(many))
    assert len(asked) == many // 7 + 1
    assert [one.version for one in events.replay(session, "a", after=3, page=2)] == list(
        range(4, many + 1)
    )
    assert len(list(events.replay(session, page=3))) == many + 1


def test_somebody_else_was_first(session: Session) -> None:
    events.append(session, "a", [NewEvent(1), NewEvent(2)], expected_version=0)
    session.commit()
    with pytest.raises(VersionConflict, match=r"'a' is at version 2, not 1; read what") as caught:
        events.publish(session, "a", 3, expected_version=1)
    assert (caught.value.channel, caught.value.expected, caught.value.actual) == ("a", 1, 2)
    session.rollback()
    with session.begin():  # a savepoint keeps what was done before
        events.publish(session, "b", 1)
        with pytest.raises(VersionConflict), session.begin_nested():
            events.publish(session, "a", 3, expected_version=1)
        events.publish(session, "a", 3, expected_version=2)
    assert [one.version for one in events.replay(session, "a")] == [1, 2, 3]
    assert [one.version for one in events.replay(session, "b")] == [1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"total": -1}, r"order.placed: \$.total: -1 is less than the minimum of 0"),
        ({"total": "x" * 999}, r"\$.total: 'xxx.*…"),
        ({}, r"\$: 'total' is a required property"),
        ({"total": 1, "items": [], "at": "today"}, r"\$.at: 'today' is not a 'date'; \$.items: "),
    ],
)
def test_data_that_its_type_does_not_take_is_refused(
    session: Session, data: object, message: str
) -> None:
    with pytest.raises(InvalidEvent, match=message) as caught:
        typed.append(
            session,
            "a",
            [NewEvent({"total": 1}, "order.placed")] * 2 + [NewEvent(data, "order.placed")],
        )
    assert len(str(caught.value)) < 500
    assert events.latest(session) is None


def test_a_type_must_be_declared_where_types_are(session: Session) -> None:
    with pytest.raises(UnknownEventType, match=r"'order.palced' \(did you mean 'order.placed'\?"):
        typed.publish(session, "a", {}, event_type="order.palced")
    with pytest.raises(UnknownEventType, match="'event'; declare it by a JSON Schema"):
        typed.publish(session, "a", {})
    assert typed.publish(session, "a", object.__doc__, event_type="order.sent").version == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": Decimal(1)}, "Decimal is not JSON serializable"),
        ({"a": float("nan")}, "invalid input syntax for type json"),
        ({"a": "\0"}, "unsupported Unicode escape sequence"),
    ],
)
def test_what_is_no_json_is_refused(session: Session, data: object, message: str) -> None:
    with pytest.raises(InvalidEvent, match=message):
        events.publish(session, "a", data)


def test_other_errors_are_sqlalchemys(session: Session) -> None:
    with pytest.raises(InvalidEvent, match="a channel has a name of 1 to 1000 bytes, not of 0"):
        events.publish(session, "", 1)
    session.rollback()
    with pytest.raises(InvalidEvent, match="a JSON array of at least one event"):
        events.append(session, "a", [])
    session.rollback()
    with pytest.raises(sa.exc.ProgrammingError, match="does not exist"):
        Events(schema="elsewhere").publish(session, "a", 1)


async def test_the_same_for_asyncio(asynchronous: AsyncSession) -> None:
    store = AsyncEvents(TYPES, schema="user")
    await store.publish(asynchronous, "a", {"total": 1}, event_type="order.placed")
    written = await store.append(asynchronous, "a", [NewEvent(n, "order.sent") for n in range(4)])
    assert [one.version for one in written] == [2, 3, 4, 5]
    await asynchronous.commit()
    found = [one.version async for one in store.replay(asynchronous, "a", page=2)]
    assert found == [1, 2, 3, 4, 5]
    latest = await store.latest(asynchronous, "a")
    assert latest is not None
    assert latest.data == 3
    assert await store.latest(asynchronous, "b") is None
    with pytest.raises(InvalidEvent):
        await store.publish(asynchronous, "a", {}, event_type="order.placed")
    with pytest.raises(VersionConflict, match="at version 5, not 4"):
        await store.publish(asynchronous, "a", 1, event_type="order.sent", expected_version=4)


# The types, by themselves.


def write(directory: Path, **schemas: object) -> Path:
    for name, schema in schemas.items():
        (directory / f"{name}.json").write_text(json.dumps(schema), encoding="utf-8")
    return directory


def test_types_are_files_and_a_page(tmp_path: Path) -> None:
    types = EventTypes.load(write(tmp_path, placed=PLACED, anything=True))
    assert set(types.schemas) == {"placed", "anything"}
    page = types.page()
    assert "## anything\n\n## placed\n\nAn order was placed\n\nBy a customer" in page
    assert "| `total` | number | yes | in euros \\| with VAT |\n" in page
    assert "| `at` | string or null | no |  |" in page
    command = [sys.executable, "-m", "bridge.events", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == page


def test_a_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match=r"event type bad: \$.type: 'strnig' is not valid"):
        EventTypes.load(write(tmp_path, bad={"type": "strnig"}))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(BridgeError, match=r"bad.json: not JSON"):
        EventTypes.load(tmp_path)


def test_nothing_is_fetched_for_a_schema() -> None:
    types = EventTypes({"a": {"$ref": "http://127.0.0.1:9/schema.json"}})
    with pytest.raises(BridgeError, match=r"event type a: .*127.0.0.1:9"):
        types.check("a", 1)
