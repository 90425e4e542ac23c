"""The listener over real sockets: a server, a proxy that breaks links, a pooler.

Waiting is always for something to happen, under one generous limit for the whole test.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from contextlib import aclosing, asynccontextmanager, closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from bridge.backoff import Backoff
from bridge.changes import Change, Gap, Lost, Operation
from bridge.errors import DatabaseError
from bridge.listener import Listener, Notifier
from bridge.session import LET_US_GO, Session, Target
from tests.support import PATIENCE
from tests.support.poolers import PGBOUNCER, pooler
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from bridge.demo.postgres import Postgres
    from bridge.listener import Item
    from tests.support import Server


CHANNEL = "Rowcast test"  # mixed case and a space: quoting matters
NAME = "the listener"


def listener(url: str, notifier: Notifier, **options: Any) -> Listener:
    """Quick to notice and to come back; its backend can be told by its application name."""
    named = f"{url}{'&' if '?' in url else '?'}application_name={NAME.replace(' ', '%20')}"
    options = {
        "probe": notifier.notify,
        "widths": {"orders": (1, 1)},
        "heartbeat": 0.02,
        "timeout": 5.0,
        "backoff": Backoff(0.001, 0.01),
        **options,
    }
    return Listener(named, CHANNEL, **options)


@pytest.fixture
def notifier(database: str) -> Iterator[Notifier]:
    notifier = Notifier(database, CHANNEL)
    yield notifier
    notifier.close()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    parts = urlsplit(server.url())
    async with Proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


@asynccontextmanager
async def running(listener: Listener) -> AsyncIterator[AsyncGenerator[Item, None]]:
    """Its items; at the end no task of it may be left."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE), aclosing(listener.listen()) as items:
        yield items
    ours = {task for task in asyncio.all_tasks() - before if "_beat" in repr(task.get_coro())}
    assert not ours


def notify(admin: psycopg.Connection, *payloads: str) -> None:
    for payload in payloads:
        admin.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


def changed(*keys: str) -> str:
    return json.dumps({"t": "orders", "o": "u", "k": [[key] for key in keys]})


def change(key: str) -> Change:
    return Change("orders", (key,), Operation.UPDATE)


_BACKENDS = "FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


def kill(admin: psycopg.Connection) -> int:
    return len(admin.execute(f"SELECT pg_terminate_backend(pid) {_BACKENDS}", (NAME,)).fetchall())


async def until_gone(database: str) -> None:
    """Return when no backend of the listener is left."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as watcher:
        while await (await watcher.execute(f"SELECT 1 {_BACKENDS}", (NAME,))).fetchone():
            await watcher.execute("SELECT pg_sleep(0.02)")


async def test_changes_follow_the_gap(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    async with running(listener(database, notifier)) as items:
        gap = await anext(items)
        assert isinstance(gap, Gap)
        assert gap.table is None
        notify(admin, changed("1", "2"), '{"t":"orders","o":"*"}', changed("3"))
        got: list[Item] = [await anext(items) for _ in range(3)]
        assert got[0] == [change("1"), change("2")]
        assert isinstance(got[1], Gap)
        assert got[1].table == "orders"
        assert got[2] == [change("3")]


async def test_ready_only_after_the_probe_came_back(database: str, notifier: Notifier) -> None:
    happened: list[str] = []

    async def swallowed(payload: str) -> None:
        happened.append("probe")
        if len(happened) > 2:
            happened.append("sent")
            await notifier.notify(payload)

    async def prepare() -> None:
        happened.append("prepare")

    deaf = listener(database, notifier, probe=swallowed, timeout=0.3, prepare=prepare)
    async with running(deaf) as items:
        for _ in range(2):
            lost = await anext(items)
            assert isinstance(lost, Lost)
            assert "pooler" in lost.reason
        while not isinstance(await anext(items), Gap):
            pass
        happened.append("gap")
    order = [happened.index(what) for what in ("probe", "sent", "prepare", "gap")]
    assert order == sorted(order)


async def test_a_failed_preparation_is_a_loss(database: str, notifier: Notifier) -> None:
    failures = iter([psycopg.OperationalError("no epoch"), TimeoutError(), None])

    async def prepare() -> None:
        if failure := next(failures):
            raise failure

    async with running(listener(database, notifier, prepare=prepare)) as items:
        got = [await anext(items) for _ in range(3)]
    assert [type(item) for item in got] == [Lost, Lost, Gap]
    assert "no epoch" in got[0].reason  # type: ignore[union-attr]


class Follower:
    """Takes in what the listener says, as a bridge would: a Gap means reading it all."""

    def __init__(self, reader: psycopg.AsyncConnection) -> None:
        self._reader = reader
        self.kinds: list[type] = []
        self.known: set[int] = set()
        self.flowing = 0
        """How many lists of changes came since the last Gap."""

    async def follow(self, item: Item) -> None:
        if isinstance(item, list):
            self.flowing += 1
            self.known.update(int(one.key[0]) for one in item)
            return
        self.flowing = 0
        self.kinds.append(type(item))
        if isinstance(item, Gap):
            rows = await (await self._reader.execute("SELECT number FROM numbers")).fetchall()
            self.known.update(number for (number,) in rows)


async def write_numbers(writer: psycopg.AsyncConnection, stop: asyncio.Event) -> int:
    """Insert 1, 2, 3 … and notify of each, a transaction each; the last of them."""
    number = 0
    while not stop.is_set():
        number += 1
        async with writer.transaction():
            await writer.execute("INSERT INTO numbers VALUES (%s)", (number,))
            await writer.execute("SELECT pg_notify(%s, %s)", (CHANNEL, changed(str(number))))
    return number


async def test_many_in_a_row_are_looked_at_together(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    """Each is a transaction of its own, and would wake the listener up by itself."""
    loop = asyncio.get_running_loop()
    heard: list[Item] = []
    async with running(listener(database, notifier, heartbeat=60.0)) as items:
        await anext(items)
        began, looks, many = loop.time(), 0, 0
        writing = asyncio.ensure_future(
            asyncio.to_thread(notify, admin, *(changed(str(n)) for n in range(2_000)))
        )
        while len(heard) < 2_000:
            found = await anext(items)
            assert isinstance(found, list)
            heard += found
            looks += 1
            many += len(found) >= 64
        await writing
    assert heard == [change(str(n)) for n in range(2_000)]
    assert looks <= 20 + 200 * (loop.time() - began) + many + 1


async def test_twenty_kills_lose_nothing(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    """What is read after each Gap, and what comes after it, is all that was committed."""
    kills, stop, last = 20, asyncio.Event(), 0
    admin.execute("CREATE TABLE numbers (number int)")
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as reader,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as writer,
        running(listener(database, notifier)) as items,
        asyncio.TaskGroup() as group,
    ):
        follower = Follower(reader)
        writing = group.create_task(write_numbers(writer, stop))
        while 0 not in follower.known:
            await follower.follow(await anext(items))
            if follower.flowing == 3 and kills:
                kills -= kill(admin)
            elif follower.flowing == 3:
                stop.set()
                last = await writing
                notify(admin, changed("0"))
    assert follower.kinds == [Gap, *[Lost, Gap] * 20]
    assert follower.known == set(range(last + 1))


@pytest.mark.parametrize("both", [False, True], ids=["listener frozen", "probe frozen too"])
async def test_a_frozen_link_is_found(
    database: str, proxy: Proxy, admin: psycopg.Connection, both: bool
) -> None:
    notifier = Notifier(proxy.url_for(database) if both else database, CHANNEL)
    frozen = listener(proxy.url_for(database), notifier, timeout=0.5)
    async with running(frozen) as items:
        while not isinstance(await anext(items), Gap):
            pass
        proxy.freeze()
        lost = await anext(items)
        assert isinstance(lost, Lost)
        assert "did not come back" in lost.reason
        proxy.thaw()
        assert await heard_again(items, admin) == [change("7")]
    notifier.close()


async def heard_again(items: AsyncGenerator[Item, None], admin: psycopg.Connection) -> Item:
    """What is notified after a Gap; on a busy machine it may be lost again before that."""
    while not isinstance(item := await anext(items), list):
        if isinstance(item, Gap):
            notify(admin, changed("7"))
    return item


BURST = [changed(str(n), "x" * 7900) for n in range(800)]
"""More than the sockets on the way hold, so that a slow proxy has to hold the server up."""


def burst(admin: psycopg.Connection) -> None:
    """One transaction, so that it comes in one go."""
    admin.execute("SELECT pg_notify(%s, p) FROM unnest(%s::text[]) p", (CHANNEL, BURST))


async def test_a_long_backlog_is_no_dead_link(
    database: str, proxy: Proxy, notifier: Notifier, admin: psycopg.Connection
) -> None:
    """A probe is heard behind all that was notified before it, here after several timeouts."""
    took = 0
    busy = listener(proxy.url_for(database), notifier, timeout=1.0)
    async with running(busy) as items:
        assert isinstance(await anext(items), Gap)
        proxy.slow = 0.03
        burst(admin)
        while took < 2 * len(BURST):
            item = await anext(items)
            assert isinstance(item, list), item
            took += len(item)


async def test_a_link_that_freezes_under_a_backlog_is_found(
    database: str, proxy: Proxy, notifier: Notifier, admin: psycopg.Connection
) -> None:
    busy = listener(proxy.url_for(database), notifier, timeout=0.5)
    async with running(busy) as items:
        assert isinstance(await anext(items), Gap)
        proxy.slow = 0.03
        burst(admin)
        assert isinstance(await anext(items), list)
        proxy.freeze()
        while isinstance(item := await anext(items), list):
            pass
        assert isinstance(item, Lost)
        assert "within 0.5 s: the link is dead" in item.reason
        proxy.thaw()


@pytest.mark.parametrize("heard", [True, False])
async def test_what_others_notify_proves_our_probes_for_a_while_only(
    database: str, notifier: Notifier, admin: psycopg.Connection, heard: bool
) -> None:
    """So it is where reads go to another server than the one that is listened to."""
    elsewhere = asyncio.Event()

    async def probe(payload: str) -> None:
        if heard and not elsewhere.is_set():
            await notifier.notify(payload)

    deaf = listener(database, notifier, probe=probe, timeout=0.5, backlog=1.0)
    async with running(deaf) as items, chattering(admin):
        if heard:
            while not isinstance(await anext(items), Gap):
                pass
            elsewhere.set()
        while isinstance(item := await anext(items), list):
            pass
    assert isinstance(item, Lost)
    assert "within 1 s" in item.reason


async def test_others_probes_prove_nothing(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    async def lost(payload: str) -> None:
        pass

    deaf = listener(database, notifier, probe=lost, timeout=0.3, backlog=1e6)
    async with running(deaf) as items, chattering(admin, '{"probe":"of another instance"}'):
        while isinstance(item := await anext(items), list):
            pass
    assert isinstance(item, Lost)
    assert "within 0.3 s" in item.reason


@asynccontextmanager
async def chattering(admin: psycopg.Connection, payload: str = changed("1")) -> AsyncIterator[None]:
    """Somebody notifies all the time."""
    over = threading.Event()

    def chatter() -> None:
        while not over.is_set():
            notify(admin, payload)

    talking = asyncio.ensure_future(asyncio.to_thread(chatter))
    try:
        yield
    finally:
        over.set()
        await talking


async def test_a_cut_link_is_noticed_at_once(
    database: str, proxy: Proxy, notifier: Notifier
) -> None:
    never = listener(proxy.url_for(database), notifier, heartbeat=1e6, timeout=1e6)
    async with running(never) as items:
        assert isinstance(await anext(items), Gap)
        proxy.cut()
        assert isinstance(await anext(items), Lost)
        assert isinstance(await anext(items), Gap)


async def test_the_wrong_database_is_named(server: Server, database: str) -> None:
    elsewhere = Notifier(server.url(), CHANNEL)
    async with running(listener(database, elsewhere, timeout=0.3)) as items:
        lost = await anext(items)
    elsewhere.close()
    assert isinstance(lost, Lost)
    assert "wrong database" in lost.reason
    assert f":{urlsplit(database).port}{urlsplit(database).path}" in lost.reason


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
async def test_a_transaction_pooler_is_named(
    database: str, notifier: Notifier, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pooler(database, tmp_path_factory.mktemp("pgbouncer")) as pooled:
        async with running(listener(pooled, notifier, timeout=1.0)) as items:
            lost = await anext(items)
            while isinstance(lost, Lost) and "refused" in lost.reason:  # still starting
                lost = await anext(items)
    assert isinstance(lost, Lost)
    assert "pooler" in lost.reason
    assert "`listen:`" in lost.reason


async def test_what_arrives_with_the_answer_to_a_statement_is_kept(database: str) -> None:
    session = await Session.connect(Target(database))
    await session.execute(sql.SQL("LISTEN here"))
    await session.execute(sql.SQL("NOTIFY here, 'with the answer'"))
    async with asyncio.timeout(PATIENCE):
        assert await session.arrivals() == [b"with the answer"]
    session.close()


async def test_a_lost_session_leaves_its_descriptor_s_next_owner_alone(
    database: str, proxy: Proxy
) -> None:
    """libpq closes the socket when the link was reset; from then on the number is another's."""
    with closing(await Session.connect(Target(proxy.url_for(database)))) as session:
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            await session.execute(sql.SQL("SELECT pg_sleep(10)"))
        opened = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(3)]
        with pytest.raises(psycopg.OperationalError):
            await session.arrivals()
        for _, writer in opened:
            writer.close()


async def test_the_listener_s_settings_hold_in_its_session(database: str) -> None:
    session = await Session.connect(Target(database))
    await session.execute(LET_US_GO)
    shown = [
        await session.execute(sql.SQL("SHOW {}").format(sql.Identifier(name)))
        for name in ("tcp_user_timeout", "idle_in_transaction_session_timeout")
    ]
    session.close()
    assert shown == ["6000", "10s"]


async def test_a_standby_is_refused_until_it_is_promoted(postgres: Postgres) -> None:
    (postgres.data_directory / "standby.signal").touch()
    postgres.restart()
    notifier = Notifier(postgres.url(), CHANNEL)
    async with running(listener(postgres.url(), notifier)) as items:
        lost = await anext(items)
        assert isinstance(lost, Lost)
        assert "standby" in lost.reason
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_promote()")
        while not isinstance(await anext(items), Gap):
            pass
    notifier.close()


async def test_refused_connections_are_retried_with_growing_pauses(
    database: str, proxy: Proxy, notifier: Notifier
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await proxy.refuse()
    backoff = Backoff(1, 8, share=lambda: 1.0)
    refused = listener(proxy.url_for(database), notifier, backoff=backoff, sleep=pause)
    async with running(refused) as items:
        for _ in range(6):
            assert isinstance(await anext(items), Lost)
        assert pauses == [1, 2, 4, 8, 8]
        await proxy.accept()
        assert isinstance(await anext(items), Gap)
        proxy.cut()
        assert isinstance(await anext(items), Lost)
        assert isinstance(await anext(items), Gap)
    assert pauses == [1, 2, 4, 8, 8, 8, 1]


MALFORMED = [
    "",
    "not JSON",
    "[]",
    "null",
    "0",
    '"text"',
    "{}",
    "[" * 1000,
    "[" * 3000 + "]" * 3000,
    "x" * 7999,
    '{"t":"nope","o":"u","k":[["1"]]}',
    '{"t":["orders"],"o":"u","k":[["1"]]}',
    '{"t":"orders"}',
    '{"t":"orders","o":"u"}',
    '{"t":"orders","o":"x","k":[["1"]]}',
    '{"t":"orders","o":{},"k":[["1"]]}',
    '{"t":"orders","o":"u","k":5}',
    '{"t":"orders","o":"u","k":[1]}',
    '{"t":"orders","o":"u","k":[[]]}',
    '{"t":"orders","o":"u","k":[["1","2","3"]]}',
    '{"t":"orders","o":"u","k":[[1e400]]}',
    '{"t":"orders","o":"u","k":[[NaN]]}',
    '{"t":"orders","o":"u","k":[[null]]}',
    '{"t":"orders","o":"u","k":[[{"a":1}]]}',
    '{"t":"orders","o":"u","k":[["1",7]]}',
    f'{{"t":"orders","o":"u","k":[[{2**70}]]}}',
    f'{{"t":"orders","o":"u","k":[[{"9" * 7000}]]}}',
]


async def test_malformed_payloads_are_counted_and_harmless(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    hearing = listener(database, notifier)
    async with running(hearing) as items:
        assert isinstance(await anext(items), Gap)
        notify(admin, *MALFORMED, '{"probe":"of another instance"}', changed("1"))
        assert await anext(items) == [change("1")]
    assert (hearing.malformed, hearing.notifications) == (len(MALFORMED), len(MALFORMED) + 1)


async def test_bytes_that_are_no_text_are_malformed(
    server: Server, admin: psycopg.Connection, database: str
) -> None:
    """A database without an encoding passes on whatever bytes it is given."""
    name = f"{urlsplit(database).path[1:]}_ascii"
    admin.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'").format(
            sql.Identifier(name)
        )
    )
    notifier = Notifier(server.url(name), CHANNEL)
    hearing = listener(server.url(name), notifier)
    try:
        async with running(hearing) as items:
            assert isinstance(await anext(items), Gap)
            with psycopg.connect(server.url(name), autocommit=True) as writer:
                writer.execute(f"NOTIFY \"{CHANNEL}\", E'\\xff'")
                notify(writer, changed("1"))
            assert await anext(items) == [change("1")]
    finally:
        notifier.close()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    assert hearing.malformed == 1


async def test_a_reader_that_was_held_up_is_no_dead_link(
    database: str, notifier: Notifier, admin: psycopg.Connection
) -> None:
    """Nobody iterates for several heartbeats, whose probes all come back in time."""
    beats = asyncio.Semaphore(0)

    async def counted(payload: str) -> None:
        await notifier.notify(payload)
        beats.release()

    held = listener(database, notifier, probe=counted, heartbeat=0.01, timeout=0.5)
    async with running(held) as items:
        while not isinstance(await anext(items), Gap):
            pass
        for _ in range(3):
            await beats.acquire()
        notify(admin, changed("1"))
        assert await anext(items) == [change("1")]


async def test_a_probe_that_cannot_be_sent_proves_nothing(
    database: str, notifier: Notifier
) -> None:
    async def broken(payload: str) -> None:
        raise RuntimeError("pool is closed")

    async with running(listener(database, notifier, probe=broken)) as items:
        lost = await anext(items)
    assert isinstance(lost, Lost)
    assert "pool is closed" in lost.reason


async def test_closing_while_it_connects(notifier: Notifier) -> None:
    """A server that accepts and says nothing sees the connection end."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"postgresql://a@127.0.0.1:{server.getsockname()[1]}/b?sslmode=disable"
        async with running(listener(url, notifier)) as items:
            connecting = asyncio.ensure_future(anext(items))
            far, _ = await loop.sock_accept(server)
            connecting.cancel()
            await asyncio.wait([connecting])
            assert connecting.cancelled()
            with far:
                while await loop.sock_recv(far, 1000):
                    pass


async def test_closing_before_the_probe_came_back(database: str, notifier: Notifier) -> None:
    probed = asyncio.Event()

    async def stuck(payload: str) -> None:
        probed.set()
        await asyncio.Event().wait()

    async with running(listener(database, notifier, probe=stuck)) as items:
        opening = asyncio.ensure_future(anext(items))
        await probed.wait()
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
    await until_gone(database)


async def test_the_server_is_rid_of_us_before_a_probe_that_clings(database: str) -> None:
    probed, released = asyncio.Event(), asyncio.Event()

    async def clinging(payload: str) -> None:
        probed.set()
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()

    async with running(listener(database, Notifier(database, CHANNEL), probe=clinging)) as items:
        opening = asyncio.ensure_future(anext(items))
        await probed.wait()
        opening.cancel()
        await until_gone(database)
        released.set()
        await asyncio.wait([opening])


async def test_closing_while_it_drains(database: str, notifier: Notifier) -> None:
    async with running(listener(database, notifier)) as items:
        assert isinstance(await anext(items), Gap)
        draining = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        draining.cancel()
        await asyncio.wait([draining])
        assert draining.cancelled()
    await until_gone(database)


async def test_closing_on_a_frozen_link(database: str, proxy: Proxy) -> None:
    """Both sessions hang, with a probe on its way; neither is waited for."""
    notifier = Notifier(proxy.url_for(database), CHANNEL)
    sending = asyncio.Event()

    async def probe(payload: str) -> None:
        sending.set()
        await notifier.notify(payload)
        sending.clear()

    frozen = listener(proxy.url_for(database), notifier, probe=probe, timeout=1e6)
    async with running(frozen) as items:
        assert isinstance(await anext(items), Gap)
        proxy.freeze()
        await sending.wait()  # the first may be on its way still: its echo can outrun its answer
    notifier.close()
    proxy.thaw()
    await until_gone(database)


async def test_an_outage_is_logged_once_a_minute_and_its_end_once(
    database: str, proxy: Proxy, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.listener")
    clock = [0.0]
    watched = listener(proxy.url_for(database), notifier, clock=lambda: clock[0])
    async with running(watched) as items:
        assert isinstance(await anext(items), Gap)
        await proxy.refuse()
        proxy.cut()
        for clock[0] in (1000, 1001, 1059, 1060, 1061):
            assert isinstance(await anext(items), Lost)
        await proxy.accept()
        while not isinstance(await anext(items), Gap):
            pass
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]


async def test_no_password_is_shown(
    database: str, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cr3t/π"
    parts = urlsplit(database)
    netloc = f"nobody:{secret.replace('/', '%2F')}@{parts.hostname}:{parts.port}"

    async def telling(payload: str) -> None:
        raise psycopg.OperationalError(f"cannot connect with password={secret}")

    url = parts._replace(netloc=netloc).geturl()
    async with running(listener(url, notifier)) as items:
        lost = await anext(items)
    telltale = parts._replace(netloc=netloc.replace("nobody", parts.username or "")).geturl()
    async with running(listener(telltale, notifier, probe=telling)) as items:
        told = await anext(items)
    assert isinstance(lost, Lost)
    assert isinstance(told, Lost)
    assert "password=***" in told.reason
    assert secret not in lost.reason + told.reason + caplog.text


@pytest.mark.parametrize(
    "bad", ["postgres//user:s3cr3t@host/db", "host=a s3cr3t", "postgresql://a:s3cr3t@["]
)
def test_an_unreadable_connection_string_is_not_quoted(bad: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        Target(bad)
    assert "s3cr3t" not in f"{caught.value!r} {caught.value.__cause__!r}"
