"""The documentation says what the code does, as far as a program can compare the two."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.cli import COMMANDS
from bridge.config import loads
from bridge.wire import CloseCode, ErrorCode
from tests.support import browser, metrics
from tests.support.browser import until
from tests.support.commands import Rowcast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ENVIRONMENT = {
    "DATABASE_URL": "postgresql:///app",
    "DIRECT_URL": "postgresql:///app",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def rows(page: str, heading: str) -> dict[str, str]:
    """The tables below a heading: what the first column has in backquotes or plainly → the line."""
    part = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {
        row[1] or row[2]: row[0]
        for row in re.findall(r"^(\| (?:`(.+?)`|(\w+)) .*)$", part, re.MULTILINE)
    }


def test_every_metric_is_described_with_its_type_and_no_other() -> None:
    found = rows(text("docs/operations.md"), "Metrics")
    own = {name: kind for name, kind in metrics.families().items() if name.startswith("rowcast_")}
    assert {name for name in found if name.startswith("rowcast_")} == set(own)
    assert all(f"| {kind} |" in found[name] for name, kind in own.items())


def logged() -> Iterator[str]:
    """The messages of every log call, each a literal in which nothing varies."""
    for path in (ROOT / "bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"_?log\.(debug|info|warning|error|exception|critical)", ast.unparse(node.func)
            ):
                assert isinstance(node.args[0], ast.Constant), f"{path}: not a literal message"
                assert len(node.args) == 1, f"{path}: what varies goes into `extra`"
                assert "%" not in str(node.args[0].value)
                yield str(node.args[0].value)
            elif isinstance(node, ast.Assign) and "logging.getLogger" in ast.unparse(node.value):
                assert ast.unparse(node.targets[0]) in ("log", "_log"), f"{path}: not found here"


def test_every_log_event_is_described_and_no_other() -> None:
    found = set(rows(text("docs/operations.md"), "Log")) - {"event"}
    assert found == set(logged())


def test_every_command_is_described_and_no_other() -> None:
    found = rows(text("docs/operations.md"), "Commands")
    described = {name.split()[1] for name in found if name.startswith("rowcast ")}
    assert described == set(COMMANDS)


def test_every_error_code_is_described_and_no_other() -> None:
    found = set(rows(text("docs/protocol.md"), "Error codes")) - {"code"}
    assert found == {str(code) for code in ErrorCode}


def test_every_close_code_is_described() -> None:
    found = set(rows(text("docs/protocol.md"), "Close codes")) - {"code"}
    # 1011 is the WebSocket library's own.
    assert found == {str(code.value) for code in CloseCode} | {"1011"}


def test_protocol_examples_are_json() -> None:
    examples = [
        line for block in blocks(text("docs/protocol.md"), "json") for line in block.splitlines()
    ]
    assert len(examples) >= 12
    for example in examples:
        assert isinstance(json.loads(example), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_config_examples_load(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
        if "tables:" in block and "deboucne" not in block:  # which docs/configuration.md misspells
            assert loads(block, env=ENVIRONMENT).tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """Headings as their anchors: lower case, without punctuation, blanks as hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_the_readme_is_short() -> None:
    assert len(text("README.md").splitlines()) <= 150


# The client of docs/protocol.md, in a real browser, against a real bridge.

CLIENT = """
window.shown = null;
follow("ws://" + location.host + "/ws", ["items"], (topic, rows, live) => {
    const held = [...rows.values()].sort((a, b) => a.id - b.id).map(({id, n}) => [id, n]);
    window.shown = JSON.stringify([live, held]);
});
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_the_client_ends_with_what_the_table_holds(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO items SELECT g, 0 FROM generate_series(1, 5) g")
    (tmp_path / "config.yaml").write_text("tables:\n  items:\n")
    (client,) = blocks(text("docs/protocol.md"), "js")
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    async with (
        rowcast.serving() as serving,
        browser.opened(chromium, f"{serving.address}/healthz") as page,
    ):
        await page.evaluate(client.replace("export ", "") + CLIENT)
        await _shows(page, admin)
        admin.execute("UPDATE items SET n = n + 1; DELETE FROM items WHERE id = 3")
        await _shows(page, admin)
        port = int(serving.address.rpartition(":")[2])
        assert await serving.stop() == 0
        admin.execute("DELETE FROM items WHERE id = 4; INSERT INTO items VALUES (9, 9)")
        async with rowcast.running("serve", "--port", str(port)):
            await _shows(page, admin)


async def _shows(page: Page, connection: psycopg.Connection) -> None:
    """Wait until the page holds what the table holds, and calls it live."""
    found = connection.execute("SELECT id, n FROM items ORDER BY id").fetchall()
    expected = json.dumps([True, found], separators=(",", ":"))
    await until(page, f"window.shown === {json.dumps(expected)}")


# docs/troubleshooting.md quotes what the bridge says.

ELSEWHERE = {"like this", "many keys changed", "LISTEN succeeded …"}


def said() -> str:
    """Every text in the code, a line each, with … for what is filled in."""
    found = []
    for path in (ROOT / "bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.replace("%s", "…"))
    return "\n".join(found)


def test_what_troubleshooting_quotes_is_said() -> None:
    page = re.sub(r"\s+", " ", text("docs/troubleshooting.md"))
    quotes = set(re.findall(r"“(.+?)”", page)) - ELSEWHERE
    assert len(quotes) > 30
    code = said()
    for quote in sorted(quotes):
        # A finding is composed: "trigger missing" of two texts.
        composed = quote.removeprefix("… trigger ") if quote.startswith("… trigger ") else quote
        pattern = ".*".join(map(re.escape, composed.split("…")))
        assert re.search(pattern, code), quote
