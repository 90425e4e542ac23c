"""Pages of another origin than the bridge's, in a browser, beside the table that they show."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from tests.support.browser import until
from tests.support.javascript import steered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import psycopg
    from playwright.async_api import Page
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request

    from tests.support.javascript import Steered

SHOWN = "JSON.stringify([...document.querySelectorAll('li')].map((item) => item.textContent))"


@asynccontextmanager
async def site(pages: Mapping[str, str]) -> AsyncIterator[str]:
    """A web server of these pages, by path; its origin."""

    def answer(_: ServerConnection, request: Request) -> Response:
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        body = pages.get(request.path.partition("?")[0], "").encode()
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        return Response(200 if body else 404, "", Headers(headers | {"Connection": "close"}), body)

    async def never(_: ServerConnection) -> None: ...

    async with serve(never, "127.0.0.1", 0, process_request=answer) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"


class Setting:
    """A bridge, the table it serves, and a page of another origin."""

    def __init__(self, bridge: Steered, admin: psycopg.Connection, origin: str) -> None:
        self.bridge = bridge
        self.admin = admin
        self.origin = origin

    async def shows(self, *pages: Page) -> None:
        """Wait until each page shows exactly what the table holds."""
        query = "SELECT format('%s: %s', id, n) FROM items ORDER BY id"
        expected = [text for (text,) in self.admin.execute(query).fetchall()]
        wanted = json.dumps(json.dumps(expected, separators=(",", ":")))
        await asyncio.gather(*(until(page, f"{SHOWN} === {wanted}") for page in pages))

    async def write(self, sql: str, *pages: Page) -> None:
        await asyncio.to_thread(self.admin.execute, sql.encode())
        await self.shows(*pages)


ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, n int);
INSERT INTO items SELECT g, 0 FROM generate_series(1, 3) g;
"""


@asynccontextmanager
async def setting(
    database: str,
    admin: psycopg.Connection,
    directory: Path,
    pages: dict[str, str],
    *,
    schema: str = ITEMS,
    tables: str = "tables:\n  items:\n",
) -> AsyncIterator[Setting]:
    """A bridge, and a web server of these pages, in which `BRIDGE` is its address."""
    admin.execute(schema.encode())
    served: dict[str, str] = {}
    async with site(served) as origin:
        config = f"server: {{allowed_origins: ['{origin}']}}\n{tables}"
        async with steered(directory, database, config) as running:
            served.update(
                {path: text.replace("BRIDGE", running.address) for path, text in pages.items()}
            )
            yield Setting(running, admin, origin)
