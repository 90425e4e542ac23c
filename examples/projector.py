"""A projector: keeps a table of balances that follows from events, and from nothing else.

    python examples/projector.py http://127.0.0.1:8765 postgresql:///app

It replays every event there ever was, and then follows: without a seam, for the bridge
joins the two. What it knows and how far it has read are written in one transaction, so it
may be killed at any point: either both are there or neither, and each event counts once.

It ends when one of its two connections ends for good; have it started again.

Needs `events: true` in the bridge's config. Events are published like this:

    SELECT rowcast.publish('accounts/7', '{"amount": -5}', event_type => 'withdrawn')
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import psycopg

from bridge.client import Client, Event, Refused, Subscribed
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.client import Message

    Connection = psycopg.AsyncConnection[Any]
    Queue = asyncio.Queue[Message]

TOPIC = "events"
BATCH = 500
"""Messages in one transaction, and held in memory, at most."""

SETUP = """
SELECT pg_advisory_xact_lock(hashtext('projector'));
CREATE TABLE IF NOT EXISTS balances (
    account text PRIMARY KEY,
    balance numeric NOT NULL,
    events bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS checkpoints (topic text PRIMARY KEY, cursor text);
INSERT INTO checkpoints VALUES ('events') ON CONFLICT DO NOTHING;
"""

# Not idempotent, on purpose: an event that counted twice, or never, would show.
APPLY = """
INSERT INTO balances VALUES (%s, %s, 1) ON CONFLICT (account) DO UPDATE
SET balance = balances.balance + excluded.balance, events = balances.events + 1
"""


class Overtaken(Exception):  # noqa: N818
    """Another projector has written since this one last looked."""


async def project(url: str, database: str) -> None:
    """Runs until it is cancelled. Raises BridgeError if the bridge refuses the topic."""
    connecting = psycopg.AsyncConnection.connect(database, autocommit=True)
    async with await connecting as connection, Client(url) as client:
        await connection.execute(SETUP)
        while True:
            await follow(client, connection, await checkpoint(connection))


async def follow(client: Client, connection: Connection, cursor: str | None) -> None:
    """Until what was written has to be looked at again, or begun anew."""
    queue: Queue = asyncio.Queue(BATCH)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read(client, cursor or "start", queue))
        await write(connection, cursor, queue)
        reading.cancel()


async def read(client: Client, since: str, queue: Queue) -> None:
    async with aclosing(client.follow(TOPIC, since=since)) as messages:
        async for message in messages:
            await queue.put(message)


async def write(connection: Connection, cursor: str | None, queue: Queue) -> None:
    while True:
        batch = [await queue.get()]
        while not queue.empty() and len(batch) < BATCH:
            batch.append(queue.get_nowait())
        try:
            if any(isinstance(one, Subscribed) and not one.resumed for one in batch):
                await forget(connection, cursor)
                return
            cursor = await apply(connection, cursor, batch)
        except Overtaken:
            return


async def apply(connection: Connection, cursor: str | None, batch: Sequence[Message]) -> str | None:
    """Writes what the batch says; returns how far that is."""
    for message in batch:
        if isinstance(message, Refused):
            raise BridgeError(f"{TOPIC}: {message.code}: {message.message}")
    events = [message for message in batch if isinstance(message, Event)]
    if not events:
        return cursor
    async with connection.transaction():
        await advance(connection, cursor, events[-1].cursor)
        amounts = [(one.row["channel"], one.row["data"]["amount"]) for one in events]
        await connection.cursor().executemany(APPLY, amounts)
    return events[-1].cursor


async def forget(connection: Connection, cursor: str | None) -> None:
    """What came after the cursor is not to be had any more: begin anew."""
    async with connection.transaction():
        await advance(connection, cursor, None)
        await connection.execute("DELETE FROM balances")


async def checkpoint(connection: Connection) -> str | None:
    found = await connection.execute("SELECT cursor FROM checkpoints WHERE topic = %s", (TOPIC,))
    (cursor,) = await found.fetchone() or (None,)
    return cursor


async def advance(connection: Connection, cursor: str | None, to: str | None) -> None:
    """Moves the checkpoint, if it is where this process left it.

    It may not be: the last COMMIT of a projector that was killed can come after the start of
    the next one, which has read the checkpoint before it.
    """
    moved = await connection.execute(
        "UPDATE checkpoints SET cursor = %s WHERE topic = %s AND cursor IS NOT DISTINCT FROM %s",
        (to, TOPIC, cursor),
    )
    if moved.rowcount != 1:
        raise Overtaken


def main() -> None:
    parser = argparse.ArgumentParser(description="keeps a table of balances of published events")
    parser.add_argument("url", help="where the bridge serves, http://HOST:PORT")
    parser.add_argument("database", help="where the balances are kept, as libpq has it")
    arguments = parser.parse_args()
    try:
        asyncio.run(project(arguments.url, arguments.database))
    except* (BridgeError, psycopg.Error) as errors:
        parser.exit(1, "".join(f"{error}\n" for error in errors.exceptions))


if __name__ == "__main__":
    main()
