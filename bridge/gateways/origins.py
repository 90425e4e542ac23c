"""Which pages a browser may connect from. Pure.

A browser lets any page open a WebSocket to any host, and tells only the page's origin.
The server's own origin is always allowed. On a loopback address "own" must also be a
loopback *name*: otherwise a foreign name that is made to resolve to 127.0.0.1 would
count as our own.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from bridge.config.values import is_loopback


def allowed(
    origin: str | None, host: str | None, configured: tuple[str, ...], *, local: bool
) -> bool:
    """Whether a request may go on; `host` is its Host header, `local` if we serve on loopback."""
    if origin is None or origin in configured:
        return True
    if host is None or origin not in (f"http://{host}", f"https://{host}"):
        return False
    return not local or is_loopback(_hostname(origin))


def _hostname(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
