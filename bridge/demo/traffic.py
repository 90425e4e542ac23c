"""The shop at work: small transactions on the tables of shop.sql, as an application writes them.

Every step is one transaction (a burst is many) and leaves the shop consistent: an
order's total is the sum of its items, stock is never negative. A step that finds
nothing to do returns False. Steps take their choices from the `Random` they are
given, so that a seed is a scenario.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random
    from typing import TypeAlias

    Connection: TypeAlias = psycopg.AsyncConnection[Any]
    Step: TypeAlias = Callable[[Connection, Random], Awaitable[bool]]

log = logging.getLogger(__name__)

KEPT = 120
"""About how many orders the shop keeps: beyond it, finished ones are deleted."""

_RETRY = 2.0


async def run(url: str, *, rate: float = 8.0, random: Random) -> None:
    """Write about `rate` transactions per second until cancelled; outlives its connections."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, connect_timeout=5, application_name="shop"
            ) as connection:
                await _work(connection, rate, random)
        except psycopg.OperationalError as error:
            log.warning("the shop lost its database", extra={"reason": str(error)})
            await asyncio.sleep(random.uniform(0, _RETRY))


async def _work(connection: Connection, rate: float, random: Random) -> None:
    while True:
        try:
            await step(connection, random)
        except psycopg.Error as error:
            # Whoever plays with the demo may write too; only a dead connection ends the day.
            if connection.closed:
                raise
            log.debug("a step of the shop failed", extra={"reason": str(error)})
        await asyncio.sleep(random.expovariate(rate))


async def step(connection: Connection, random: Random) -> None:
    """One thing that happens in a shop."""
    done = False
    while not done:
        (chosen,) = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        done = await chosen(connection, random)


async def place(connection: Connection, random: Random) -> bool:
    """A customer orders one to four products; what is out of stock is left out."""
    placed = False
    async with connection.transaction() as transaction:
        order = await _value(
            connection,
            "INSERT INTO orders (customer_id) VALUES (%s) RETURNING id",
            await _any(connection, random, "SELECT id FROM customers ORDER BY id"),
        )
        products = await _column(connection, "SELECT id FROM products ORDER BY id")
        # In the order of their ids, or two such transactions could wait for each other.
        for line, product in enumerate(sorted(random.sample(products, random.randint(1, 4))), 1):
            await connection.execute(_TAKE, (random.randint(1, 3), product, order, line))
        placed = bool(await _value(connection, _TOTAL, order))
        if not placed:
            raise psycopg.Rollback(transaction)
    return placed


async def pay(connection: Connection, random: Random) -> bool:
    return await _advance(connection, random, "placed", "paid")


async def ship(connection: Connection, random: Random) -> bool:
    return await _advance(connection, random, "paid", "shipped")


async def deliver(connection: Connection, random: Random) -> bool:
    return await _advance(connection, random, "shipped", "delivered")


async def cancel(connection: Connection, random: Random) -> bool:
    """An order that was not shipped goes back to the shelves."""
    async with connection.transaction():
        order = await _any(connection, random, _OPEN)
        if order is None:
            return False
        await connection.execute(_RETURN, (order,))
        await connection.execute(_SET_STATUS, ("cancelled", order))
    return True


async def change_item(connection: Connection, random: Random) -> bool:
    """A customer takes one more of the first thing they ordered."""
    async with connection.transaction():
        order = await _any(connection, random, _OPEN)
        taken = await _value(connection, _TAKE_ONE_MORE, order, order)
        if taken is None:
            return False
        await _value(connection, _TOTAL, order)
    return True


async def restock(connection: Connection, random: Random) -> bool:
    """What runs low is filled up."""
    return (await connection.execute(_RESTOCK, (random.randint(20, 60),))).rowcount > 0


async def reprice(connection: Connection, random: Random) -> bool:
    """One statement over all products."""
    # Each step up undoes a step down, or in a day everything would cost next to nothing.
    factor = random.choice(["0.95", "0.98", "1.0204", "1.0526"])
    await connection.execute(
        "UPDATE products SET price = greatest(round(price * %s::numeric, 2), 1)", (factor,)
    )
    return True


async def abandon(connection: Connection, random: Random) -> bool:
    """A purchase that fails at the last moment: nobody may ever see it."""
    async with connection.transaction(force_rollback=True):
        await place(connection, random)
    return True


async def forget(connection: Connection, _: Random) -> bool:
    """The oldest finished orders beyond `KEPT` are deleted."""
    return (await connection.execute(_FORGET, (KEPT,))).rowcount > 0


async def burst(
    connection: Connection, random: Random, *, times: int = 200, seconds: float = 2.0
) -> bool:
    """Somebody haggles: one open order's price and total change again and again."""
    order = await _any(connection, random, _OPEN)
    if order is None:
        return False
    for _ in range(times):
        async with connection.transaction():
            await connection.execute(_HAGGLE, (random.randint(90, 110), order))
            await _value(connection, _TOTAL, order)
        await asyncio.sleep(seconds / times)
    return True


async def _advance(connection: Connection, random: Random, before: str, after: str) -> bool:
    order = await _any(connection, random, _WITH_STATUS, before)
    if order is None:
        return False
    await connection.execute(_SET_STATUS, (after, order))
    return True


async def _column(connection: Connection, query: LiteralString, *values: object) -> list[Any]:
    return [value for (value,) in await (await connection.execute(query, values)).fetchall()]


async def _value(connection: Connection, query: LiteralString, *values: object) -> Any:
    return next(iter(await _column(connection, query, *values)), None)


async def _any(
    connection: Connection, random: Random, query: LiteralString, *values: object
) -> Any:
    found = await _column(connection, query, *values)
    return random.choice(found) if found else None


_WITH_STATUS = "SELECT id FROM orders WHERE status = %s ORDER BY id"
_OPEN = "SELECT id FROM orders WHERE status IN ('placed', 'paid') ORDER BY id"

# updated_at: the clock, not the start of the transaction, to be as near to the commit as can be.
_SET_STATUS = "UPDATE orders SET status = %s, updated_at = clock_timestamp() WHERE id = %s"
_TOTAL = """
UPDATE orders SET updated_at = clock_timestamp(),
    total = (SELECT coalesce(sum(quantity * price), 0) FROM order_items WHERE order_id = orders.id)
WHERE id = %s RETURNING total
"""
_TAKE = """
WITH wanted (quantity, product_id, order_id, line) AS (
    VALUES (%s::smallint, %s::integer, %s::integer, %s::smallint)
), taken AS (
    UPDATE products SET stock = stock - quantity FROM wanted
    WHERE id = product_id AND stock >= quantity RETURNING price
)
INSERT INTO order_items (order_id, line, product_id, quantity, price)
SELECT order_id, line, product_id, quantity, price FROM wanted, taken
"""
_TAKE_ONE_MORE = """
WITH first AS (
    SELECT product_id, line FROM order_items WHERE order_id = %s ORDER BY line LIMIT 1
), taken AS (
    UPDATE products SET stock = stock - 1 FROM first
    WHERE id = product_id AND stock >= 1 RETURNING line
)
UPDATE order_items SET quantity = quantity + 1 FROM taken
WHERE order_id = %s AND order_items.line = taken.line RETURNING order_items.line
"""
_RETURN = """
UPDATE products SET stock = stock + back.quantity FROM (
    SELECT product_id, sum(quantity) AS quantity FROM order_items WHERE order_id = %s GROUP BY 1
) AS back WHERE id = back.product_id
"""
_RESTOCK = """
UPDATE products SET stock = stock + %s
WHERE id IN (SELECT id FROM products WHERE stock < 50 ORDER BY stock, id LIMIT 3)
"""
_HAGGLE = """
UPDATE order_items SET price = greatest(round(products.price * %s / 100, 2), 1) FROM products
WHERE products.id = product_id AND (order_id, line) = (
    SELECT order_id, min(line) FROM order_items WHERE order_id = %s GROUP BY 1
)
"""
_FORGET = """
DELETE FROM orders WHERE id IN (
    SELECT id FROM orders WHERE status IN ('delivered', 'cancelled') ORDER BY placed_at, id
    LIMIT greatest((SELECT count(*) FROM orders) - %s, 0)
)
"""

_WEIGHTS: dict[Step, float] = {
    place: 22,
    pay: 24,
    ship: 27,
    deliver: 30,
    cancel: 3,
    change_item: 8,
    restock: 4,
    reprice: 0.7,
    abandon: 4,
    forget: 12,
    burst: 0.5,
}
