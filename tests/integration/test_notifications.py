"""The proxy of tests that mishandles notifications, and nothing else that passes through it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.notifications import Messages, Notifications

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Session = psycopg.AsyncConnection[Any]


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Notifications]:
    parts = urlsplit(database)
    async with Notifications(str(parts.hostname), int(parts.port or 5432)) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Notifications, database: str) -> AsyncIterator[Session]:
    url = proxy.url_for(database)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
        await session.execute("LISTEN c")
        yield session


async def heard(session: Session, *payloads: str) -> list[str]:
    """What arrives when these are announced by the session itself, which asks for rows as well."""
    got: list[str] = []
    session.add_notify_handler(lambda notification: got.append(notification.payload))
    for payload in payloads:
        found = await session.execute("SELECT pg_notify('c', %s), repeat('x', 100000)", (payload,))
        assert len((await found.fetchall())[0][1]) == 100_000
    await session.execute("SELECT")
    return got


async def test_all_pass_unless_told_otherwise(session: Session, proxy: Notifications) -> None:
    assert await heard(session, "1", "2") == ["1", "2"]
    assert proxy.hit == 0


async def test_what_is_lost_is_lost_and_probes_are_not(
    session: Session, proxy: Notifications
) -> None:
    proxy.lose()
    assert await heard(session, "1", '{"probe":"x"}') == ['{"probe":"x"}']
    proxy.deliver(Random(1))
    assert await heard(session, "2") == ["2"]
    assert proxy.hit == 1


async def test_what_is_open_can_be_deaf_for_ever(
    session: Session, proxy: Notifications, database: str
) -> None:
    proxy.deafen()
    proxy.deliver(Random(1))
    assert await heard(session, "1", '{"probe":"x"}') == []
    url = proxy.url_for(database)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        await other.execute("LISTEN c")
        assert await heard(other, "2") == ["2"]


async def test_what_is_jumbled_comes_five_times_in_any_order(
    session: Session, proxy: Notifications
) -> None:
    proxy.jumble(Random(1), 1000.0)
    assert await heard(session, *"abc") == []
    proxy.deliver(Random(1))
    got = await heard(session)
    assert sorted(got) == sorted("abc" * 5)
    assert got != sorted(got)


def test_messages_are_found_wherever_they_are_cut() -> None:
    one, note = b"T\x00\x00\x00\x06ab", b"A\x00\x00\x00\x07xyz"
    stream = one + note + note + one + one
    for size in range(1, len(stream) + 1):
        messages = Messages()
        parts = [stream[n : n + size] for n in range(0, len(stream), size)]
        found = [piece for part in parts for piece in messages.feed(part)]
        assert [data for kind, data in found if kind] == [note, note]
        assert b"".join(data for _, data in found) == stream
