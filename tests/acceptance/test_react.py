"""The hooks for React in a real browser: under StrictMode, while topics come and go, and while
the bridge does. React is whichever is installed, 18 or newer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import browser
from tests.support.browser import until
from tests.support.javascript import NODE, install, node, package, react
from tests.support.pages import setting

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg
    from playwright.async_api import Browser

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),  # as the browser's
    pytest.mark.skipif(
        NODE is None or package("react-dom") is None,
        reason="no React found; `apt install node-react-dom`, or `npm install` in clients/js",
    ),
]

PAGE = """<!doctype html><title>items</title><main></main>
<script type="importmap">{"imports": {
  "react": "/react.js", "react-dom/client": "/react-dom-client.js",
  "rowcast": "BRIDGE/rowcast.js", "rowcast/react": "BRIDGE/rowcast-react.js"
}}</script>
<script type="module">
import {StrictMode, createElement as h, startTransition, useState} from "react";
import {createRoot} from "react-dom/client";
import {connect} from "rowcast";
import {LiveProvider, useLive, useRow, useRows, useTopicError} from "rowcast/react";

window.complaints = [];
console.error = (...given) => complaints.push(given.join(" "));
window.sockets = 0;
window.sent = [];
class Watched extends WebSocket {
  constructor(...given) { super(...given); sockets++; }
  send(text) { sent.push(JSON.parse(text)); super.send(text); }
}
const live = connect("BRIDGE", {WebSocket: Watched});

function App() {
  const {status} = useLive();
  const [topic, follow] = useState("items");
  const [many, show] = useState(0);
  Object.assign(window, {follow, show: (n) => startTransition(() => show(n))});
  const error = useTopicError(topic);
  return h("div", null,
    h("p", null, error?.code ?? status),
    h(Items, {topic}),
    Array.from({length: many}, (_, n) => h(Same, {key: n})));
}

function Items({topic}) {
  const rows = useRows(topic);
  if (!rows) return h("i", null, "…");
  return h("ul", null, rows.map(({id, n}) => h("li", {key: id}, `${id}: ${n}`)));
}

function Same() {
  const row = useRow("items/{id}", {id: 1});
  for (const end = performance.now() + 1; performance.now() < end; );
  return h("b", null, row?.n);
}

createRoot(document.querySelector("main")).render(
  h(StrictMode, null, h(LiveProvider, {live}, h(App))));
</script>
"""
STATUS = "document.querySelector('p').textContent"


async def test_hooks_keep_right_under_strict_mode(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    async with (
        setting(database, admin, tmp_path, {"/": PAGE, **react()}) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await here.shows(page)
        # StrictMode mounts everything twice, and the bridge hears of it once.
        assert await page.evaluate("sockets") == 1
        assert await page.evaluate("sent") == [{"type": "subscribe", "topic": "items"}]
        await here.write("UPDATE items SET n = 1; INSERT INTO items VALUES (4, 4)", page)

        await page.evaluate("follow('items/2')")
        await until(page, "document.querySelectorAll('li').length === 1")
        await until(page, "sent.some(({type}) => type === 'unsubscribe')")
        await page.evaluate("follow('nothing')")
        await until(page, f"{STATUS} === 'unknown_topic'")
        await page.evaluate("follow(null)")
        await until(page, f"{STATUS} === 'idle'")
        await page.evaluate("follow('items')")

        await here.shows(page)
        await here.bridge.kill()
        await until(page, f"{STATUS} === 'stale'")
        admin.execute("DELETE FROM items WHERE id = 2")
        await here.bridge.start()
        await here.shows(page)
        await until(page, f"{STATUS} === 'live'")
        assert await page.evaluate("complaints") == []


async def test_components_never_disagree(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """While a slow tree is drawn in a transition, its row changes again and again."""
    async with (
        setting(database, admin, tmp_path, {"/": PAGE, **react()}) as here,
        browser.opened(chromium, here.origin) as page,
    ):
        await here.shows(page)
        await page.evaluate("""(() => {
            window.torn = [];
            window.drawn = new Set();
            const look = () => {
                const shown = [...document.querySelectorAll('b')].map((b) => b.textContent);
                const values = new Set(shown);
                if (values.size > 1) torn.push([...values]);
                values.forEach((value) => drawn.add(value));
                requestAnimationFrame(look);
            };
            new MutationObserver(look).observe(document, {subtree: true, childList: true});
        })()""")
        await page.evaluate("show(100)")
        for n in range(1, 30):
            admin.execute("UPDATE items SET n = %s WHERE id = 1", (n,))
        last = "[...document.querySelectorAll('b')].filter((b) => b.textContent === '29').length"
        await until(page, f"{last} === 100")
        assert await page.evaluate("torn") == []
        assert await page.evaluate("drawn.size") >= 1


SERVER = """
import {createElement as h} from "react";
import {renderToString} from "react-dom/server";
import {connect} from "rowcast";
import {LiveProvider, useLive, useRow, useRows} from "rowcast/react";
const live = connect("/", {WebSocket: null});
const drawn = () => [useLive().status, useRows("a") ?? 0, useRow("b") ?? 0];
const App = () => h("p", null, JSON.stringify(drawn()));
console.log(renderToString(h(LiveProvider, {live}, h(App))));
"""


async def test_a_server_draws_what_is_there_before_anything_came(tmp_path: Path) -> None:
    install(tmp_path, "react", "react-dom", "scheduler", "loose-envify", "js-tokens")
    (tmp_path / "main.mjs").write_text(SERVER)
    drawn = await node(
        "--preserve-symlinks", "--preserve-symlinks-main", str(tmp_path / "main.mjs")
    )
    text = drawn.strip().removeprefix("<p>").removesuffix("</p>").replace("&quot;", '"')
    assert json.loads(text) == ["idle", 0, 0]
