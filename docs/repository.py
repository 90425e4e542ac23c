"""A hook of MkDocs: the README is the first page, and files that pages link to become pages.

Pages link to files beside `docs/` as they do on any forge: `../deploy/haproxy.cfg`. The site has no
such directory, so each of these files becomes a page of it. A link to what does not exist is left
as it is, and `strict` then fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".html": "html", ".js": "js"}

_place: dict[str, str] = {}  # source of a page on the site → the file of the repository it shows


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the README as the first page, and every file that is linked to, from there on."""
    _place.clear()
    _place.update({file.src_uri: f"docs/{file.src_uri}" for file in files})
    _add(files, config, "index.md", "README.md")
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        for path in sorted(_linked(waiting.pop())):
            source = _shown(path)
            if source not in _place:
                _add(files, config, source, path)
                waiting.append(source)
    _index(files, config)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links as they are on the site; other hooks' pages have them so already."""
    source = page.file.src_uri
    return _moved(markdown, source) if source in _place else markdown


def _add(files: Files, config: MkDocsConfig, source: str, path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".md"):
        language = LANGUAGES.get(Path(path).suffix, "")
        text = f"# {path}\n\n````{language}\n{text}\n````\n"
    _place[source] = path
    files.append(File.generated(config, source, content=text))


def _index(files: Files, config: MkDocsConfig) -> None:
    shown = sorted(source for source in _place if source.startswith("repository/"))
    lines = [f"- [{_place[source]}]({posixpath.relpath(source, 'repository')})" for source in shown]
    text = "\n".join(
        ["# Files of the repository", "", "Those that pages here speak of.", "", *lines]
    )
    files.append(File.generated(config, "repository/files.md", content=text))


def _shown(path: str) -> str:
    """Where the site shows a file of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path}.md"


def _linked(source: str) -> set[str]:
    """Files of the repository, outside of `docs/`, that a page links to."""
    path = ROOT / _place[source]
    if path.suffix != ".md":
        return set()
    found = (_target(source, link[1]) for link in LINK.finditer(path.read_text(encoding="utf-8")))
    return {target for target in found if target and not target.startswith("docs/")}


def _target(source: str, link: str) -> str | None:
    """The file of the repository that a page's link means, if there is such a file."""
    if "://" in link:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_place[source]), link))
    return path if (ROOT / path).is_file() else None


def _moved(markdown: str, source: str) -> str:
    def moved(link: re.Match[str]) -> str:
        target = _target(source, link[1])
        if target is None:
            return link[0]
        there = posixpath.relpath(_shown(target), posixpath.dirname(source) or ".")
        return there + (link[2] or "")

    return LINK.sub(moved, markdown)
