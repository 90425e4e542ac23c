"""A log that is held: by a prepared transaction, which is waited for, measured and named."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from bridge import held
from bridge.demo.postgres import Postgres
from tests.support import PATIENCE, connect, fresh_database, http
from tests.support.bridges import configure, running
from tests.support.listeners import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.demo.postgres import Binaries
    from tests.support.bridges import Running

PAYMENTS = "CREATE TABLE payments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)"
PAY = "INSERT INTO payments (note) VALUES ('n')"


@pytest.fixture
def preparing(binaries: Binaries) -> Iterator[str]:
    """A database of a server on which transactions can be prepared."""
    with Postgres.start(binaries=binaries, settings={"max_prepared_transactions": "5"}) as server:
        yield from fresh_database(server, "template0")


async def metrics(bridge: Running) -> str:
    return (await http.get(bridge.http, "/metrics")).body.decode()


async def test_a_prepared_transaction_keeps_its_place_and_is_named(
    preparing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(held, "PATIENCE", 0.2)
    caplog.set_level(logging.WARNING)
    with connect(preparing) as connection, connect(preparing) as other:
        connection.execute(PAYMENTS)
        async with (
            running(configure(preparing, "\n  payments: {mode: log}\n")) as bridge,
            listening(bridge.url, "payments") as listener,
        ):
            await listener.begun()
            connection.execute(f"BEGIN; {PAY}")
            other.execute(PAY)
            # Looked at under one name, and gone on under another session's.
            async with asyncio.timeout(PATIENCE):
                while "log held" not in caplog.text:
                    await asyncio.sleep(0.01)
            caplog.clear()
            connection.execute("PREPARE TRANSACTION 'the one'")
            other.execute(PAY)
            async with asyncio.timeout(PATIENCE):
                while (
                    'gid="the one"' not in (await http.get(bridge.http, "/metrics")).body.decode()
                ):
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(PATIENCE):
                while "rowcast_log_lag_positions 3.0" not in await metrics(bridge):
                    await asyncio.sleep(0.01)
            assert listener.ids == []
            other.execute("COMMIT PREPARED 'the one'")
            await listener.until(3)
            assert listener.ids == [1, 2, 3]
            connection.execute(f"BEGIN; {PAY}; PREPARE TRANSACTION 'undone'")
            other.execute(PAY)
            connection.execute("ROLLBACK PREPARED 'undone'")
            await listener.until(4)
            assert listener.ids == [1, 2, 3, 5]
