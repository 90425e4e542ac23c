"""Which pages a browser may connect from, and may let read an answer. Pure.

A browser lets any page open a WebSocket to any host, and tells only the page's origin.
The server's own origin is always allowed. On a loopback address "own" must also be a
loopback *name*: otherwise a foreign name that is made to resolve to 127.0.0.1 would
count as our own. A plain GET from a page of our own names no origin at all, so there
the name is looked for in Host.
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


def readable(
    origin: str | None, host: str | None, configured: tuple[str, ...], *, local: bool
) -> bool:
    """The same for a plain GET. Behind a proxy on this machine Host may name a page we allow."""
    if origin is not None or host is None or not local:
        return allowed(origin, host, configured, local=local)
    name = _hostname(f"http://{host}")
    return is_loopback(name) or name in map(_hostname, configured)


def sharing(origin: str | None) -> dict[str, str]:
    """Headers by which a browser lets a page of this allowed origin read the answer."""
    if origin is None:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "ETag, Retry-After",
    }


PREFLIGHT = {
    "Allow": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, If-None-Match, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}
"""What a browser asks for before a request with headers of its own."""


def _hostname(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
