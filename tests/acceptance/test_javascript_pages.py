"""The JavaScript client in a real browser, on a page of another origin, through what pages go
through: a bridge that is killed, several tabs, a network that goes and comes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import browser
from tests.support.browser import until
from tests.support.pages import setting, site

if TYPE_CHECKING:
    import psycopg
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")  # as the browser's

README = Path(__file__).resolve().parents[2] / "README.md"
PLAIN = """<!doctype html><title>items</title><ul></ul><p></p>
<script type="module">
import {connect} from "BRIDGE/rowcast.js";
window.live = connect("BRIDGE");
live.rows("items").subscribe((rows) => {
  const items = rows.map(({id, n}) => {
    const item = document.createElement("li");
    item.textContent = `${id}: ${n}`;
    return item;
  });
  document.querySelector("ul").replaceChildren(...items);
});
live.subscribe((status) => document.querySelector("p").textContent = status);
</script>
"""
# Which the page itself never hears of but from the worker.
WORKER = """
import {connect} from "BRIDGE/rowcast.js";
connect("BRIDGE").rows("items").subscribe((rows) => postMessage(rows));
"""
EMPLOYER = """<!doctype html><ul></ul><script>
new Worker("/worker.js", {type: "module"}).onmessage = ({data}) =>
  document.querySelector("ul").replaceChildren(...data.map(({id, n}) => {
    const item = document.createElement("li");
    item.textContent = `${id}: ${n}`;
    return item;
  }));
</script>
"""
STATUS = "document.querySelector('p').textContent"


async def test_a_page_is_right_without_a_reload_after_the_bridge_was_killed(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    async with (
        setting(database, admin, tmp_path, {"/": PLAIN}) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await here.shows(page)
        await here.write("UPDATE items SET n = 1 WHERE id = 2", page)
        for n in range(2):
            await here.bridge.kill()
            await until(page, f"{STATUS} === 'stale'")
            admin.execute(f"INSERT INTO items VALUES (10 + {n}, 7)".encode())
            admin.execute(f"DELETE FROM items WHERE id = 1 + {n}".encode())
            await here.bridge.start()
            await here.shows(page)
            await until(page, f"{STATUS} === 'live'")


async def test_the_lines_of_the_readme_make_a_live_page(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    (lines,) = re.findall(r"^```html\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    lines = lines.replace("http://127.0.0.1:8765", "BRIDGE").replace("pgbench_tellers", "items")
    async with (
        setting(database, admin, tmp_path, {"/": lines}) as here,
        browser.opened(chromium, "about:blank") as page,
    ):
        told = "console.table = (rows) => window.told = JSON.stringify(rows)"
        await page.add_init_script(told)
        await page.goto(here.origin)
        await until(page, "window.told?.length > 2")
        admin.execute("DELETE FROM items WHERE id > 1")
        await until(page, """window.told === '[{"n":0,"id":1}]'""")


async def test_tabs_show_the_same(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    async with (
        setting(database, admin, tmp_path, {"/": PLAIN}) as here,
        browser.opened(chromium, here.origin) as first,
    ):
        second = await first.context.new_page()
        await second.goto(here.origin)
        both = (first, second)
        await here.shows(*both)
        await here.write("UPDATE items SET n = n + 1; DELETE FROM items WHERE id = 3", *both)
        await second.evaluate("live.close()")
        await here.write("INSERT INTO items VALUES (4, 4)", first)
        await until(second, f"{STATUS} === 'closed'")


async def test_it_runs_in_a_worker(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    async with (
        setting(database, admin, tmp_path, {"/": EMPLOYER, "/worker.js": WORKER}) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await here.shows(page)
        await here.write(
            "UPDATE items SET n = 1 WHERE id = 2; DELETE FROM items WHERE id = 1", page
        )


async def test_a_page_that_was_offline_catches_up(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    async with (
        setting(database, admin, tmp_path, {"/": PLAIN}) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await here.shows(page)
        # A browser keeps what is open while it is told to be offline; the bridge's end is not.
        await page.context.set_offline(True)
        await here.bridge.kill()
        await until(page, f"{STATUS} === 'stale'")
        await here.bridge.start()
        admin.execute("UPDATE items SET n = 5")
        assert await page.evaluate("navigator.onLine") is False
        await page.context.set_offline(False)
        await here.shows(page)
        await until(page, f"{STATUS} === 'live'")


async def test_a_page_that_may_not_connect_is_told_what_to_do(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """A browser keeps the reason from the page, whose console says what it may be."""
    text = PLAIN.replace('connect("BRIDGE")', 'connect("BRIDGE", {WebSocket: null})')
    async with (
        setting(database, admin, tmp_path, {}) as here,
        site({"/": text.replace("BRIDGE", here.bridge.address)}) as foreign,
        browser.opened(chromium, "about:blank") as page,
    ):
        async with page.expect_console_message(lambda said: f"{foreign} in its " in said.text):
            await page.goto(foreign)
        file = tmp_path / "page.html"
        file.write_text(text.replace("BRIDGE", here.bridge.address))
        async with page.expect_console_message(lambda said: "serve it over HTTP" in said.text):
            await page.goto(file.as_uri())
