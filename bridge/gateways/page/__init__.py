"""The inspector's page: its document, and the style and scripts that this loads."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

MAY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A Content-Security-Policy: what it does not load from this server, it does not do."""

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


def index() -> bytes:
    return files(__name__).joinpath("index.html").read_bytes()


@cache
def assets() -> dict[str, tuple[str, bytes]]:
    """(content type, content) by path. They hold no data, and load without a token."""
    return {
        f"/inspector/{file.name}": (_KINDS[kind], file.read_bytes())
        for file in files(__name__).iterdir()
        if (kind := file.name.rpartition(".")[2]) in _KINDS
    }
