"""The documentation as a site: it builds, each link leads somewhere, and nothing is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from bridge.cli import COMMANDS
from bridge.config.model import SECTIONS, keys
from bridge.metrics import Metrics
from bridge.wire import CloseCode, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """What a page links to and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found["id"] or ""} if "id" in found else set()
        self.links += [found[name] or "" for name in ("href", "src") if name in found]


def built(place: Path, source: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    return subprocess.run(
        [*command, "--config-file", str(source / "mkdocs.yml")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    done = built(place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("index.html") if path.is_file()}


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for link in page.links:
            split = urlsplit(link)
            if split.scheme or split.netloc:
                continue
            there = (path.parent / unquote(split.path)).resolve() if split.path else path
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{path.relative_to(site)} links to {link}"
            if split.fragment and there in pages:
                anchors = pages[there].anchors
                assert unquote(split.fragment) in anchors, f"{path.relative_to(site)}: {link}"


def names() -> Iterator[tuple[str, str]]:
    """The page of the reference, and what it has to speak of."""
    yield from (("config", key) for section in SECTIONS for key in keys(section))
    yield from (("commands", f"rowcast {command}") for command in COMMANDS)
    yield from (("metrics", family.name) for family in Metrics().registry.collect())
    yield from (("messages", str(code)) for code in ErrorCode)
    yield from (("messages", str(code.value)) for code in CloseCode)
    yield ("log", "capture has drifted")
    yield ("messages", "subscribed")


def test_the_reference_speaks_of_everything(site: Path, pages: dict[Path, Page]) -> None:
    for name, said in names():
        assert said in pages[site / "reference" / name / "index.html"].text, f"{name}: {said}"


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    broken = "# Events\n\n[gone](nowhere.md) [too](protocol.md#no)\n"
    (tmp_path / "docs/events.md").write_text(broken)
    done = built(tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "#no" in done.stderr
