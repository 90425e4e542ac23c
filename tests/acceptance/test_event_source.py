"""Server-Sent Events as they are used: by a browser's EventSource, and behind nginx as it comes."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support import browser, http
from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.events import streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import psycopg

CHROMIUM = browser.find()
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# Nothing but what one cannot leave out: buffering is on.
BEHIND = """
daemon off; pid {prefix}/pid; error_log {prefix}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {prefix}/a; proxy_temp_path {prefix}/b; fastcgi_temp_path {prefix}/c;
    uwsgi_temp_path {prefix}/d; scgi_temp_path {prefix}/e;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {upstream}; }} }}
}}
"""


@asynccontextmanager
async def nginx(prefix: Path, upstream: str) -> AsyncIterator[str]:
    """An nginx in front of `upstream`; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = prefix / "nginx.conf"
    config.write_text(BEHIND.format(prefix=prefix, port=port, upstream=upstream))
    process = await asyncio.create_subprocess_exec(
        str(NGINX), "-c", str(config), "-p", str(prefix), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listening(process, port, prefix / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None, f"nginx has ended; see {log}"
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest.mark.skipif(NGINX is None, reason="no nginx found")
async def test_events_pass_an_nginx_that_buffers(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO items VALUES (1, 0)")
    async with (
        running(configure(database, "  items:\n")) as bridge,
        nginx(tmp_path, bridge.http) as address,
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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; $CHROME may name one")
async def test_a_browser_reads_events_by_type_and_comes_back(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO items SELECT g, 0 FROM generate_series(1, 3) g")
    (tmp_path / "config.yaml").write_text("tables:\n  items:\n")
    rowcast = Rowcast(tmp_path, database)
    assert (await rowcast.run("migrate")).status == 0
    async with (
        rowcast.serving() as serving,
        browser.opened(str(CHROMIUM), f"{serving.address}/healthz") as page,
    ):
        await page.evaluate(SOURCE)
        await page.until('JSON.stringify(rows) === \'{"1":0,"2":0,"3":0}\'')
        admin.execute("UPDATE items SET n = 1 WHERE id = 1; DELETE FROM items WHERE id = 3")
        await page.until('JSON.stringify(rows) === \'{"1":1,"2":0}\'')
        seen = await page.evaluate("seen")
        assert (seen["welcome"], seen["subscribed"], seen["snapshot"]) == (1, 2, 2)
        port = serving.address.rpartition(":")[2]
        assert await serving.stop() == 0
        admin.execute("UPDATE items SET n = 2")
        async with rowcast.running("serve", "--port", port):
            # 0 while it connects; 2 is for ever.
            await page.until('opened === 2 && JSON.stringify(rows) === \'{"1":2,"2":2}\'')
            assert await page.evaluate("source.readyState") == 1
