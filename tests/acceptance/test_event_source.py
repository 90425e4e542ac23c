"""Server-Sent Events as they are used: by a browser's EventSource, and behind nginx as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.demo.ports import free_port
from tests.support import browser, http
from tests.support.balancers import NGINX, nginx
from tests.support.bridges import configure, running
from tests.support.browser import until
from tests.support.commands import Rowcast
from tests.support.events import streaming

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg
    from playwright.async_api import Browser


@pytest.mark.skipif(NGINX is None, reason="no nginx found")
async def test_events_pass_an_nginx_that_buffers(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO items VALUES (1, 0)")
    port = free_port()
    # Nothing but what one cannot leave out: buffering is on.
    server = "server {{ listen 127.0.0.1:{}; location / {{ proxy_pass {}; }} }}".format
    async with (
        running(configure(database, "  items:\n")) as bridge,
        nginx(tmp_path, server(port, bridge.http), port) as address,
        streaming(address, "items/1") as stream,
    ):
        assert stream.headers["content-type"] == "text/event-stream"
        await stream.until("snapshot")
        for n in (1, 2, 3):
            admin.execute("UPDATE items SET n = %s", (n,))
            assert (await stream.until("change")).json()["row"]["n"] == n
        state = await http.get(address, "/state/items/1", Connection="close")
        assert state.json()["rows"][0]["row"]["n"] == 3


SOURCE = """
window.seen = {}; window.rows = null; window.opened = 0;
window.source = new EventSource("/sse?topic=items&topic=" + encodeURIComponent("items/1"));
source.onopen = () => opened++;
const take = (type, apply) => source.addEventListener(type, ({data}) => {
    seen[type] = (seen[type] ?? 0) + 1;
    const message = JSON.parse(data);
    if (message.topic === "items") apply(message);
});
take("welcome", () => {});
take("subscribed", () => {});
take("snapshot", ({rows: found, first}) => {
    if (first) rows = {};
    for (const {key, row} of found) rows[key.id] = row.n;
});
take("change", ({key, row}) => { row === null ? delete rows[key.id] : rows[key.id] = row.n; });
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_reads_events_by_type_and_comes_back(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO items SELECT g, 0 FROM generate_series(1, 3) g")
    (tmp_path / "config.yaml").write_text("tables:\n  items:\n")
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    async with (
        rowcast.serving() as serving,
        browser.opened(chromium, f"{serving.address}/healthz") as page,
    ):
        await page.evaluate(SOURCE)
        await until(page, 'JSON.stringify(rows) === \'{"1":0,"2":0,"3":0}\'')
        admin.execute("UPDATE items SET n = 1 WHERE id = 1; DELETE FROM items WHERE id = 3")
        await until(page, 'JSON.stringify(rows) === \'{"1":1,"2":0}\'')
        seen = await page.evaluate("seen")
        assert (seen["welcome"], seen["subscribed"], seen["snapshot"]) == (1, 2, 2)
        port = serving.address.rpartition(":")[2]
        assert await serving.stop() == 0
        admin.execute("UPDATE items SET n = 2")
        async with rowcast.running("serve", "--port", port):
            # 0 while it connects; 2 is for ever.
            await until(page, 'opened === 2 && JSON.stringify(rows) === \'{"1":2,"2":2}\'')
            assert await page.evaluate("source.readyState") == 1
