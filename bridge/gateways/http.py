"""What is answered with one plain HTTP response: health, metrics, the inspector, the client."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Response

from bridge.errors import LimitError, ProtocolError, TokenError
from bridge.gateways import page
from bridge.gateways.client import modules
from bridge.gateways.page import assets
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from bridge.hub import Hub
    from bridge.metrics import Metrics
    from bridge.presence import Presence


METRICS = "/metrics"
READYZ = "/readyz"
_WATCHED = frozenset({"/healthz", READYZ, "/metrics"})
_OPEN = _WATCHED | set(modules())


_AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Target(NamedTuple):
    """What a request asks for: path and query, neither decoded.

    Nothing is read into it. A proxy in front keeps people from paths by the same text, and
    `//x/metrics` or a path with a tab in it must not be another one here than there.
    """

    path: str
    query: str

    @classmethod
    def of(cls, text: str) -> Target:
        path, _, query = _AUTHORITY.sub("", text, count=1).partition("?")
        return cls(path, query)


def exposition(metrics: bytes) -> Response:
    """Metrics in Prometheus's text format."""
    return respond(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", metrics)


class Pages:
    """Answers by path. Only what a GET can do: there is nothing here that changes anything."""

    def __init__(self, hub: Hub, presence: Presence, metrics: Metrics, *, inspector: bool) -> None:
        self._hub = hub
        self._presence = presence
        self._metrics = metrics
        self._paths = {"/healthz": self._healthz, READYZ: self._readyz, METRICS: self._text}
        self._paths |= {path: partial(_module, code) for path, code in modules().items()}
        if inspector:
            self._paths |= {"/": _page, "/inspector/topics": self._topics}
            self._paths |= {path: partial(_asset, path) for path in assets()}

    def watched(self, path: str) -> bool:
        """Whether this is for who watches over the bridge, whom no limit may keep away."""
        return path in _WATCHED

    def metrics(self, method: str, path: str) -> bool:
        return path == METRICS and method in ("GET", "HEAD")

    def guarded(self, path: str) -> bool:
        """Whether this shows what only those may see who have a token, where tokens are asked for.

        Health and metrics have to be read by what has none: they show counts, and no names but
        those of tables. The client is what a page gets its first token with. The inspector's
        scripts say nothing.
        """
        return path in self._paths and path not in _OPEN and path not in assets()

    def answer(self, method: str, path: str, *, trusted: bool = True) -> Response:
        """`path` comes without its query; `trusted` is who may know what is wrong: reasons
        have names in them, and PostgreSQL's words, which may quote a value."""
        page = self._paths.get(path)
        if page is None:
            response = text(HTTPStatus.NOT_FOUND, "There is nothing here.\n")
        elif method not in ("GET", "HEAD"):
            response = text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.\n")
            response.headers["Allow"] = "GET, HEAD"
        else:
            response = page() if trusted or path != READYZ else self._ready()
        return response

    def _healthz(self) -> Response:
        return text(HTTPStatus.OK, "ok\n")

    def _readyz(self) -> Response:
        return self._ready(self._presence.status()._asdict())

    def _ready(self, status: dict[str, Any] | None = None) -> Response:
        ready = self._presence.ready
        code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return json_answer(code, {"ready": ready, "reasons": []} | (status or {}))

    def _text(self) -> Response:
        return exposition(self._metrics.text())

    def _topics(self) -> Response:
        tables: dict[str, list[str]] = {}
        for table, template in self._hub.routes.templates():
            tables.setdefault(table, []).append(template)
        entries = [{"name": name, "topics": topics} for name, topics in tables.items()]
        return json_answer(HTTPStatus.OK, {"instance": self._presence.instance, "tables": entries})


def _module(code: bytes) -> Response:
    """Any page may load it: it is no secret, and holds no data."""
    response = respond(HTTPStatus.OK, "text/javascript; charset=utf-8", code, caching="no-cache")
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _page() -> Response:
    response = respond(HTTPStatus.OK, "text/html; charset=utf-8", page.index())
    response.headers["Content-Security-Policy"] = page.MAY
    return response


def _asset(path: str) -> Response:
    kind, body = assets()[path]
    return respond(HTTPStatus.OK, kind, body, caching="no-cache")


def respond(status: HTTPStatus, kind: str, body: bytes, *, caching: str = "no-store") -> Response:
    """A whole answer; one that has no content, and so no `kind`, does not speak of its length."""
    content = {"Content-Type": kind, "Content-Length": str(len(body))} if kind else {}
    headers = Headers(
        content
        | {
            "Cache-Control": caching,
            "Connection": "close",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return Response(status.value, status.phrase, headers, body)


def no_content(more: dict[str, str], status: HTTPStatus = HTTPStatus.NO_CONTENT) -> Response:
    """Headers only."""
    response = respond(status, "", b"")
    for name, value in more.items():
        response.headers[name] = value
    return response


def text(status: HTTPStatus, body: str) -> Response:
    return respond(status, "text/plain; charset=utf-8", body.encode())


def too_large(most: int) -> Response:
    return text(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"Over {most} bytes of headers (limits.headers).\n",
    )


def refusal(error: ProtocolError, status: HTTPStatus | None = None) -> Response:
    """An error of the protocol as an answer; what passes says when to ask again."""
    if isinstance(error, LimitError):
        status = HTTPStatus.TOO_MANY_REQUESTS
    status = status or _STATUS[error.code]
    response = json_answer(status, {"code": error.code, "message": str(error)})
    if error.code == ErrorCode.UNAUTHENTICATED:
        bad = ', error="invalid_token"' if isinstance(error, TokenError) else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="rowcast"{bad}'
    if error.code == ErrorCode.UNAVAILABLE:
        # Spread, for those who are refused together would come back together.
        response.headers["Retry-After"] = str(random.randint(*_PASSING[status]))  # noqa: S311
    return response


_STATUS: dict[str, HTTPStatus] = {
    ErrorCode.BAD_MESSAGE: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNKNOWN_TOPIC: HTTPStatus.NOT_FOUND,
    ErrorCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.SNAPSHOT_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.TOO_MANY_SUBSCRIPTIONS: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

_PASSING = {HTTPStatus.SERVICE_UNAVAILABLE: (1, 5), HTTPStatus.TOO_MANY_REQUESTS: (5, 30)}
"""Seconds after which to ask again, from and to."""


def json_answer(status: HTTPStatus, value: Any) -> Response:
    return respond(status, "application/json", json.dumps(value).encode() + b"\n")
