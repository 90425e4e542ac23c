"""The inspector page in a real browser, on a real bridge: it shows what SELECT returns."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support import browser
from tests.support.bridges import configure, running
from tests.support.browser import errors, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")  # as the browser's

# What markup, JavaScript's numbers and percent-encoding could each get wrong.
TABLE = """
CREATE TABLE goods (id bigint PRIMARY KEY, name text, price numeric(8, 2), shelf text);
INSERT INTO goods VALUES
    (1, '<b>bold</b>', 12.50, 'a/b'), (2, NULL, 3.00, 'ü'), (9007199254740993, '&amp;', 0.10, 'c');
"""
CONFIG = """
  goods:
    topics: [goods, "goods/{id}", "shelves/{shelf}/goods"]
"""

SHOWN = """[...document.querySelectorAll("#body tr:not(.gone)")]
    .map((row) => [...row.cells].slice(0, -1).map((cell) => cell.textContent))"""
ORDER = """[...document.querySelectorAll("#head th")].slice(0, -1).map((th) => th.textContent)"""
LIVE = 'document.querySelector("#status").dataset.state === "live"'


@asynccontextmanager
async def inspector(
    chromium: Browser, database: str, admin: psycopg.Connection, topic: str = ""
) -> AsyncIterator[Page]:
    """The page, live and with rows in it, in front of a bridge of its own."""
    admin.execute(TABLE)
    async with (
        running(configure(database, CONFIG)) as bridge,
        browser.opened(chromium, f"{bridge.http}/#{topic}") as page,
    ):
        await until(page, f"{LIVE} && {SHOWN}.length > 0")
        yield page
        assert await errors(page) == []


async def shows(page: Page, admin: psycopg.Connection, where: str = "true") -> None:
    """Wait until the page shows exactly the rows of a SELECT, in any order."""
    columns = await until(page, f"{SHOWN}.length && {ORDER}")
    texts = ", ".join(f"coalesce({column}::text, 'null')" for column in columns)
    query = f"SELECT {texts} FROM goods WHERE {where}"
    expected = sorted(map(list, admin.execute(query.encode()).fetchall()))
    await until(page, f"JSON.stringify({SHOWN}.sort()) === {json.dumps(_text(expected))}")


def _text(rows: list[list[str]]) -> str:
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)


async def test_rows_are_shown_as_they_are(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    async with inspector(chromium, database, admin) as page:
        await shows(page, admin)
        assert await page.evaluate('document.querySelectorAll("#body b").length') == 0


async def test_changes_arrive(chromium: Browser, database: str, admin: psycopg.Connection) -> None:
    async with inspector(chromium, database, admin) as page:
        admin.execute("INSERT INTO goods VALUES (4, 'new', 7.70, 'c')")
        await shows(page, admin)
        admin.execute("UPDATE goods SET price = price * 2, name = 'changed' WHERE id > 1")
        await shows(page, admin)
        admin.execute("DELETE FROM goods WHERE id <> 2")
        await shows(page, admin)
        admin.execute("UPDATE goods SET id = 5")
        await shows(page, admin)


@pytest.mark.parametrize("topic", ["goods/9007199254740993", "shelves/a%2Fb/goods"])
async def test_the_location_names_the_topic(
    chromium: Browser, database: str, admin: psycopg.Connection, topic: str
) -> None:
    async with inspector(chromium, database, admin, topic) as page:
        row = "id > 3" if topic.startswith("goods") else "id = 1"
        await shows(page, admin, row)
        admin.execute(f"UPDATE goods SET price = 99 WHERE {row}".encode())
        await shows(page, admin, row)


async def test_a_row_leads_to_its_own_topic(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    async with inspector(chromium, database, admin) as page:
        await page.evaluate('document.querySelector("#body tr td:last-child").click()')
        await until(page, 'location.hash === "#goods/9007199254740993"')
        await shows(page, admin, "id > 3")
        await until(page, 'document.querySelector("#caption").textContent.includes("shelves/c/")')


async def test_an_unknown_topic_is_said_to_be_one(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    async with inspector(chromium, database, admin) as page:
        await page.evaluate('location.hash = "nothing"')
        await until(
            page, 'document.querySelector("#problem").textContent.includes("unknown_topic")'
        )
        await page.evaluate('location.hash = "goods"')
        await shows(page, admin)


async def test_the_page_is_whole_again_after_the_database_was_lost(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    async with inspector(chromium, database, admin) as page:
        await shows(page, admin)
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        admin.execute("INSERT INTO goods VALUES (6, 'meanwhile', 1, 'd')")
        admin.execute("DELETE FROM goods WHERE id = 1")
        await shows(page, admin)
        await until(page, LIVE)


async def test_it_never_goes_back_in_time(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    """Late messages, as another instance may send them, handed to the page by hand."""
    async with inspector(chromium, database, admin) as page:
        held = 'rows.replica.entries.get(`{"id":7}`).row?.name ?? "no row"'
        for name in ("rows", "connection"):
            load = f"import('/inspector/{name}.js').then((m) => {{ globalThis.{name} = m; }})"
            await page.evaluate(load)
        seen = []
        for version, name in [("z1", "a"), ("z0", "b"), ("z1", "c"), ("z3", None), ("z2", "d")]:
            row = name and {"id": 7, "name": name}
            change = {"type": "change", "topic": "goods", "table": "goods", "op": "update"}
            text = json.dumps(change | {"key": {"id": 7}, "row": row, "version": version})
            seen.append(await page.evaluate(f"connection.receive({json.dumps(text)}), {held}"))
        assert seen == ["a", "a", "c", "no row", "no row"]


async def test_the_numbers_move(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    async with inspector(chromium, database, admin) as page:
        await until(page, 'document.querySelector("[data-gauge]").textContent === "1"')
        admin.execute("UPDATE goods SET price = 5")
        await until(page, 'document.querySelector("[data-seconds]").textContent.endsWith(" ms")')
