"""The examples as they stand: only addresses are others."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from bridge.demo.ports import free_port
from tests.support import PATIENCE, browser, http
from tests.support.browser import until
from tests.support.javascript import package, react, steered
from tests.support.pages import SHOWN, setting
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")  # as the browser's

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ADDRESS = "http://127.0.0.1:8765"
ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, status text);
INSERT INTO orders VALUES (1, 7, 'placed'), (2, 7, '<b>paid</b>'), (3, 8, 'placed');
"""
TABLES = """
tables:
  orders:
    topics: [orders, "orders/{id}", "customers/{customer_id}/orders"]
"""
STATUS = "document.querySelector('[role=status]').textContent"


def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


async def test_plain_html(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    pages = {"/": example("page.html").replace(ADDRESS, "BRIDGE")}
    async with (
        setting(database, admin, tmp_path, pages, schema=ORDERS, tables=TABLES) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        cells = "[...document.querySelectorAll('td')].map((cell) => cell.textContent).join()"
        await until(page, f"{cells} === '1,placed,7,2,<b>paid</b>,7,3,placed,8'")
        admin.execute("DELETE FROM orders WHERE id > 1; UPDATE orders SET status = 'sent'")
        await until(page, f"{cells} === '1,sent,7' && {STATUS} === 'live'")
        await page.goto(f"{here.origin}/?topic=nothing")
        problem = "document.querySelector('[role=alert]').textContent"
        await until(page, f"{problem}.startsWith('no such topic')")


@pytest.mark.skipif(package("react-dom") is None, reason="no React found")
async def test_react(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    text = re.sub(r"https://esm\.sh/react@\d+", "/react.js", example("react.html"))
    text = re.sub(r"https://esm\.sh/react-dom@[^\"]+", "/react-dom-client.js", text)
    pages = {"/": text.replace(ADDRESS, "BRIDGE"), **react()}
    async with (
        setting(database, admin, tmp_path, pages, schema=ORDERS, tables=TABLES) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await until(page, "document.querySelectorAll('button').length === 2")
        await page.evaluate("document.querySelector('button').click()")
        await until(page, f"""{SHOWN} === '["1: placed","2: <b>paid</b>"]'""")
        admin.execute("UPDATE orders SET customer_id = 7 WHERE id = 3")
        admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
        await until(page, f"""{SHOWN} === '["1: sent","2: <b>paid</b>","3: placed"]'""")
        await until(page, "document.querySelectorAll('button').length === 1")


def config(name: str, origin: str) -> str:
    """The bridge's config, from the top of an example."""
    text = example(name).partition("config.yaml")[2].partition("\n\n")[2].partition('\n"""')[0]
    found = dedent(text).replace("http://localhost:8000", origin)
    assert found.startswith("database:")
    return found


@asynccontextmanager
async def python(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=EXAMPLES,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def listening(origin: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await http.get(origin, "/favicon.ico", Connection="close")
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_fastapi(
    chromium: Browser,
    database: str,
    admin: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin.execute(ORDERS.encode())
    monkeypatch.setenv("JWT_SECRET", SECRET)
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    serve = ("-m", "uvicorn", "fastapi_tokens:app", "--port", str(port), "--log-level", "error")
    strict = config("fastapi_tokens.py", origin).replace("jwt: {", "jwt: {leeway: 0, ")
    async with (
        steered(tmp_path, database, strict) as running,
        # Tokens of three seconds: the page has to renew one to see the last change.
        python(*serve, BRIDGE_URL=running.address, TOKEN_MINUTES="0.05"),
    ):
        await listening(origin)
        async with browser.opened(chromium, f"{origin}/?user=7") as page:
            await until(page, f"""{SHOWN} === '["1: placed","2: <b>paid</b>"]'""")
            asked = "performance.getEntriesByName(location.origin + '/token').length"
            await until(page, f"{asked} > 2")
            admin.execute("UPDATE orders SET status = 'sent'")
            await until(page, f"""{SHOWN} === '["1: sent","2: sent"]'""")
            await _sees_nobody_else(page, running.address)


async def _sees_nobody_else(page: Page, address: str) -> None:
    told = await page.evaluate(f"""(async () => {{
        const {{connect}} = await import("{address}/rowcast.js");
        const token = await (await fetch("/token")).text();
        return new Promise((resolve) => connect("{address}", {{token}})
            .rows("customers/8/orders").subscribe(resolve, (error) => resolve(error.code)));
    }})()""")
    assert told == "forbidden"


async def test_django(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    urls = {"DATABASE_URL": database}
    async with python("django_model.py", "check", **urls) as made:
        assert await made.wait() == 0
    async with (
        steered(tmp_path, database, config("django_model.py", origin)) as running,
        python(
            *("django_model.py", "runserver", "--noreload", f"127.0.0.1:{port}"),
            **urls,
            BRIDGE_URL=running.address,
        ),
    ):
        await listening(origin)
        async with browser.opened(chromium, origin) as page:
            await until(page, f"{STATUS} === 'live'")
            await page.evaluate("fetch('/order', {method: 'POST'}).then(() => 1)")
            await until(page, f"""{SHOWN} === '["1: placed"]'""")
            admin.execute("UPDATE shop_order SET status = 'sent'")
            await until(page, f"""{SHOWN} === '["1: sent"]'""")
