"""The inspector's other side in a real browser: tables, who is connected, and why not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest

from bridge.pipeline import Bridge
from tests.support import browser, http
from tests.support.bridges import Running, configure, running, staying
from tests.support.browser import errors, until
from tests.support.tokens import SECRET, token
from tests.support.visitor import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")  # as the browser's

TABLE = """
CREATE TABLE stock (shelf text, place int, name text, hidden bool NOT NULL DEFAULT false,
                    room text NOT NULL DEFAULT 'r',
                    PRIMARY KEY (shelf, place));
INSERT INTO stock VALUES ('a', 1, '<i>one</i>'), ('b', 2, 'two'), ('c', 3, 'three');
UPDATE stock SET hidden = place = 3;
"""
TABLES = """
  stock:
    topics: [stock, "stock/{shelf}/{place}", "shelves/{shelf}", "rooms/{room}"]
    columns: [shelf, place, name]
    where: not hidden
    debounce: 20ms
"""
LIVE = 'document.querySelector("#status").dataset.state === "live"'
ANSWER = 'document.querySelector("#why-answer").textContent'
STEPS = '[...document.querySelectorAll("#why-steps li")].map((li) => li.innerText).join(" | ")'


@asynccontextmanager
async def inspecting(chromium: Browser, bridge: Running, where: str) -> AsyncIterator[Page]:
    async with browser.opened(chromium, bridge.http + where) as page:
        await until(page, f"{LIVE} && document.querySelector('#why-table').options.length")
        yield page


async def ask(page: Page, *key: str, expect: str) -> str:
    """Fill in the form and press its button, until the answer has these words; the steps."""
    await page.evaluate(
        f"""(() => {{ document.querySelector("#tab-why").click();
            document.querySelectorAll("#why-key input").forEach(
                (input, i) => {{ input.value = {json.dumps(key)}[i]; }});
            globalThis.asking = setInterval(
                () => document.querySelector("#why-form").requestSubmit(), 100); }})()"""
    )
    await until(page, f"{ANSWER}.includes({json.dumps(expect)})")
    await page.evaluate("clearInterval(globalThis.asking)")
    return str(await page.evaluate(STEPS))


async def test_why_somebody_did_not_get_it(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    async with (
        running(configure(database, TABLES)) as bridge,
        inspecting(chromium, bridge, "/#stock/a/1") as page,
    ):
        with admin.transaction():
            for room in ("x", "y", "z"):  # equal notifications would be one to PostgreSQL
                admin.execute("UPDATE stock SET room = %s, name = room WHERE place = 1", [room])
        steps = await ask(page, "a", "1", expect="Sent as update to 1 subscriber of stock/a/1.")
        assert "update seen, 3 coalesced" in steps
        assert "update to 1" in steps
        admin.execute("UPDATE stock SET room = 'not sent' WHERE place = 1")
        await ask(page, "a", "1", expect="is what its subscribers were told last")
        admin.execute("UPDATE stock SET name = 'x' WHERE place = 2")
        steps = await ask(page, "b", "2", expect="nobody followed a topic of this key")
        assert "not read: nobody followed a topic of it" in steps
        await ask(page, "c", "3", expect="does not meet `where`")
        assert "not hidden" in await page.evaluate('document.querySelector("#why-facts").innerText')
        await ask(page, "d", "4", expect="There is no such row")
        assert await errors(page) == []


async def test_a_row_is_asked_about_by_the_keyboard(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    async with (
        running(configure(database, TABLES)) as bridge,
        inspecting(chromium, bridge, "/#stock") as page,
    ):
        await until(page, 'document.querySelectorAll("#body tr").length === 2')
        await page.evaluate('document.querySelector("#body .since").focus()')
        await page.keyboard.press("Enter")
        await until(page, f'{ANSWER} === "Sent in a snapshot of stock to 1 subscriber."')
        assert await page.evaluate("location.hash") == "#stock", "asked about, and not followed"
        assert await page.evaluate('document.activeElement.id === "why-answer"')
        await page.evaluate('document.querySelector("#tab-why").focus()')
        await page.keyboard.press("ArrowRight")
        assert await page.evaluate("document.activeElement.id") == "tab-bridge"
        assert await page.evaluate('!document.querySelector("#panel-bridge").hidden')
        assert await errors(page) == []


async def test_tables_topics_instances_and_subscribers(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    async with (
        running(configure(database, TABLES)) as bridge,
        inspecting(chromium, bridge, "/#stock") as page,
        visiting(bridge.url, "shelves/b") as visit,
    ):
        await visit.begin()
        rows = '[...document.querySelectorAll("#{} tr")].map((tr) => tr.textContent).join(" | ")'
        await until(page, f"{rows.format('followed')}.includes('shelves/b')")
        await until(page, f"{rows.format('tables')}.startsWith('stock2 following')")
        await until(
            page, f"{rows.format('instances')}.includes('{bridge.bridge.instance}this one')"
        )
        await until(page, f"{rows.format('subscribers')}.split(' | ').length === 2")
        bars = '[...document.querySelectorAll("#latency title")].map((t) => t.textContent)'
        admin.execute("UPDATE stock SET name = 'y' WHERE place = 2")
        await until(page, f"{bars}.some((text) => text.endsWith(': 1'))")
        assert await errors(page) == []


async def test_with_auth_why_is_for_whom_the_config_names(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    auth = (
        f"{{jwt: {{secret: {SECRET}}}, inspect: {{role: admin}}, allow: [{{topic: stock}},"
        " {topic: '**', when: {role: admin}}]}"
    )
    async with running(configure(database, TABLES, auth=auth)) as bridge:
        one = token(sub="bob")
        refused = await http.get(bridge.http, "/state/shelves/a", Authorization=f"Bearer {one}")
        assert refused.status == 403
        async with inspecting(chromium, bridge, f"/?token={one}#stock") as page:
            await page.evaluate('document.querySelector("#tab-bridge").click()')
            await until(page, '!document.querySelector("#private").hidden')
            await ask(page, "a", "1", expect="auth.inspect")
        boss = token(role="admin", sub="ann")
        async with inspecting(chromium, bridge, f"/?token={boss}#stock") as page:
            steps = await ask(page, "a", "1", expect="A token was denied one of its topics.")
            assert "denied to bob" in steps
            assert await errors(page) == []


async def test_the_page_outlives_the_bridge(
    chromium: Browser, database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    config = staying(configure(database, TABLES))
    async with running(config) as bridge, inspecting(chromium, bridge, "/#stock/a/1") as page:
        bridge.bridge.stop()
        await until(page, 'document.querySelector("#status").dataset.state === "stale"')
        admin.execute("UPDATE stock SET name = 'meanwhile' WHERE place = 1")
        again = Bridge(config)
        serving = asyncio.create_task(again.run())
        await until(page, f'{LIVE} && document.querySelector("#body").innerText.includes("mean")')
        admin.execute("UPDATE stock SET name = 'after' WHERE place = 1")
        await until(page, 'document.querySelector("#body [data-heat]")?.textContent === "after"')
        await ask(page, "a", "1", expect="Sent as update to 1 subscriber of stock/a/1.")
        again.stop()
        await serving


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_can_be_read(
    chromium: Browser, database: str, admin: psycopg.Connection, scheme: Literal["light", "dark"]
) -> None:
    admin.execute(TABLE)
    async with (
        running(configure(database, TABLES)) as bridge,
        inspecting(chromium, bridge, "/#stock") as page,
    ):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": 360, "height": 740})
        for tab in ("log", "tables", "why", "bridge"):
            await page.evaluate(f'document.querySelector("#tab-{tab}").click()')
            assert await page.evaluate("document.documentElement.scrollWidth") == 360, tab
            assert await page.evaluate(_CONTRAST) >= 4.5
        admin.execute("INSERT INTO stock VALUES ('d', 4, NULL)")
        new = "document.querySelector(\"#body tr[data-heat='4']\")"
        assert await until(page, f"{new} && {_CONTRAST}") >= 4.5
        assert await errors(page) == []


# The least contrast between a text and what is behind it, as WCAG counts it.
_CONTRAST = """(() => {
    const parts = (color) => color.match(/[\\d.]+/g)
        .map((c, i) => color.startsWith("color(") && i < 3 ? c * 255 : Number(c));
    const light = (color) => parts(color).slice(0, 3).map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => { const color = getComputedStyle(e).backgroundColor;
        return parts(color)[3] === 0 ? behind(e.parentElement) : color; };
    const texts = [...document.querySelectorAll("p, dt, dd, th, td, h2, button, code, time, small")]
        .filter((e) => e.checkVisibility() && e.innerText.trim());
    return Math.min(...texts.map((e) => {
        const [a, b] = [getComputedStyle(e).color, behind(e)].map(light);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }));
})()"""
