"""Published events, from SQL and SQLAlchemy to subscribers of one channel and of all."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bridge import config as config_file
from bridge.client import Client, Event, Subscribed
from bridge.events import Events, EventTypes, InvalidEvent, NewEvent
from tests.support import PATIENCE
from tests.support.bridges import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.bridges import Running

PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text(encoding="utf-8")
events = Events()


@pytest.fixture
async def bridges(database: str) -> AsyncIterator[tuple[Running, Running]]:
    text = "database: ${URL}\nevents: true\nserver: {port: 0}\n"
    config = config_file.loads(text, env={"URL": database})
    async with running(config) as one, running(config, migrated=False) as other:
        yield one, other


@pytest.fixture
def session(bridges: object, database: str) -> Any:
    engine = sa.create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with Session(engine) as session:
        yield session
    engine.dispose()


class Listener:
    """Follows one topic of one bridge; `next` are its events."""

    def __init__(self, bridge: Running, topic: str, since: Any = None) -> None:
        self.client = Client(bridge.http)
        self.messages = self.client.follow(topic, since=since)

    async def begin(self) -> Subscribed:
        message = await anext(self.messages)
        assert isinstance(message, Subscribed)
        return message

    async def next(self, many: int) -> list[Event]:
        async with asyncio.timeout(PATIENCE):
            got = [await anext(self.messages) for _ in range(many)]
        assert all(isinstance(one, Event) for one in got)
        return got  # type: ignore[return-value]


def seen(got: list[Event]) -> list[tuple[str, int]]:
    return [(one.row["channel"], one.row["version"]) for one in got]


async def test_one_channel_and_all_of_them(
    bridges: tuple[Running, Running], admin: psycopg.Connection, session: Session
) -> None:
    one, other = bridges
    listeners = [Listener(one, "events"), Listener(other, "events")]
    listeners.append(Listener(other, "events/orders%2F1"))
    for listener in listeners:
        assert (await listener.begin()).resumed is False
    admin.execute("SELECT rowcast.publish('orders/1', '{\"total\": 1}', '{\"by\": 1}', 'placed')")
    with admin.transaction(force_rollback=True):
        admin.execute("SELECT rowcast.publish('orders/1', '2')")
    events.append(session, "orders/2", [NewEvent(1), NewEvent(2)])
    events.publish(session, "orders/1", None)
    session.commit()
    every, again = [await listener.next(4) for listener in listeners[:2]]
    single = await listeners[2].next(2)
    expected = [("orders/1", 1), ("orders/2", 1), ("orders/2", 2), ("orders/1", 2)]
    assert seen(every) == seen(again) == expected
    assert seen(single) == [("orders/1", 1), ("orders/1", 2)]
    first = single[0]
    assert first.row.pop("timestamp")
    assert first[:5] == (
        "events/orders%2F1",
        "events",
        {"position": 1},
        {
            "channel": "orders/1",
            "version": 1,
            "event_type": "placed",
            "data": {"total": 1},
            "metadata": {"by": 1},
        },
        1,
    )
    for listener in listeners:
        await listener.client.close()


async def test_from_the_start_and_from_where_one_was(
    bridges: tuple[Running, Running], session: Session
) -> None:
    one, other = bridges
    events.append(session, "a", [NewEvent(n) for n in range(50)])
    events.append(session, "b", [NewEvent(n) for n in range(50)])
    session.commit()
    for topic, many in (("events", 100), ("events/a", 50)):
        listener = Listener(one, topic, "start")
        assert (await listener.begin()).resumed is True
        replayed = await listener.next(many)
        channel = None if topic == "events" else "a"
        assert [one.row["data"] for one in replayed] == [
            event.data for event in events.replay(session, channel)
        ]
        await listener.client.close()
        behind = Listener(other, topic, replayed[29].cursor)
        assert (await behind.begin()).resumed is True
        assert await behind.next(many - 30) == replayed[30:]
        await behind.client.close()
        last = Listener(other, topic, {topic: {"position": 45}})
        assert (await last.begin()).resumed is True
        assert [one.position for one in await last.next(5)] == [46, 47, 48, 49, 50]
        await last.client.close()


async def test_a_large_event_arrives_whole(
    bridges: tuple[Running, Running], session: Session
) -> None:
    listener = Listener(bridges[0], "events")
    await listener.begin()
    large = {"text": "é" * 1_000_000}
    events.publish(session, "a", large)
    session.commit()
    (got,) = await listener.next(1)
    assert got.row["data"] == large
    await listener.client.close()


# docs/events.md is true.


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def declare(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    Path("event_types").mkdir()
    schema = {"properties": {"total": {"minimum": 0}}}
    Path("event_types/order.placed.json").write_text(json.dumps(schema))


async def test_the_page_about_events_runs(
    bridges: object,
    admin: psycopg.Connection,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = session.get_bind()
    Base.metadata.create_all(engine)
    admin.execute(blocks("sql")[0])
    newest = events.latest(session, "orders/42")
    assert newest is not None
    assert (newest.event_type, newest.data) == ("order.paid", {"total": 12.5})
    session.rollback()
    names = {"engine": engine, "Session": Session, "order": Order(id=42, status="placed")}
    client, types = blocks("python")
    exec(client, names)
    assert session.execute(sa.text("SELECT status FROM orders")).scalar() == "placed"
    assert [one.version for one in events.replay(session, "audit")] == [1, 2]
    assert capsys.readouterr().out == ""  # nothing after version 3, and no conflict
    declare(tmp_path, monkeypatch)
    with pytest.raises(InvalidEvent) as caught:
        exec(types, names | {"EventTypes": EventTypes, "Path": Path, "session": session})
    assert str(caught.value) in types


def test_the_event_on_the_page_is_one() -> None:
    (line,) = blocks("json")
    fields = json.loads(line)
    assert set(fields) == {"type", "topic", "table", "key", "row", "position", "cursor"}
