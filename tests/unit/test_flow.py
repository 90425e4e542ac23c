"""What was read ahead is good for one read, at once, of all that it is asked for."""

from __future__ import annotations

import asyncio

from bridge.changes import Change, Dirty, Operation, State
from bridge.flow import Flow
from bridge.tables import Column, Table
from bridge.topics import Template

ID = (Column("id", "int4", "int4"),)
ORDERS = Table("orders", "public", "orders", 1, ID, ("id",), (Template.parse("orders"),))


def state(key: str) -> State:
    return State((key,), (key,), f'{{"id":{key}}}', "{}", "1")


def change(key: str) -> Change:
    return Change("orders", (key,), Operation.UPDATE)


def foreseeing(*keys: str) -> Flow:
    flow = Flow(ORDERS)
    assert list(flow.add([change(key) for key in keys], 0.0, None)) == []
    flow.foresee(map(state, keys))
    return flow


def dirty(*keys: str) -> list[Dirty]:
    return [Dirty((key,), existed=True) for key in keys]


async def test_it_is_good_for_one_read() -> None:
    flow = foreseeing("1", "2")
    assert flow.foreseen(dirty("2")) == [state("2")]
    assert flow.foreseen(dirty("1")) is None


async def test_it_is_good_for_none_that_wants_more() -> None:
    flow = foreseeing("1")
    assert flow.foreseen(dirty("1", "2")) is None
    assert flow.foreseen(dirty("1")) is None


async def test_a_change_that_comes_makes_it_old() -> None:
    flow = foreseeing("1")
    assert list(flow.add([change("2")], 0.0, None)) == []
    assert flow.foreseen(dirty("1")) is None


async def test_it_does_not_outlive_a_loss() -> None:
    flow = foreseeing("1")
    flow.clear()
    assert flow.foreseen(dirty("1")) is None


async def test_it_is_not_kept_for_later() -> None:
    """The key is not due when it comes; when it is, there may be another state."""
    flow = foreseeing("1")
    now = -1.0
    waiting = asyncio.ensure_future(flow.due(lambda: now))
    await asyncio.sleep(0)
    now = 0.0
    flow.wake.set()
    await waiting
    assert flow.foreseen(dirty("1")) is None
