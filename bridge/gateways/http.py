"""What is answered with one plain HTTP response: health, metrics and the inspector."""

from __future__ import annotations

import json
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.http11 import Response

if TYPE_CHECKING:
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.metrics import Metrics


class Pages:
    """Answers by path. Only what a GET can do: there is nothing here that changes anything."""

    def __init__(
        self, hub: Hub, health: Health, metrics: Metrics, *, instance: str, inspector: bool
    ) -> None:
        self._hub = hub
        self._health = health
        self._metrics = metrics
        self._instance = instance
        self._paths = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._text}
        if inspector:
            self._paths |= {"/": self._page, "/inspector/topics": self._topics}

    def answer(self, method: str, path: str) -> Response:
        """`path` comes without its query."""
        page = self._paths.get(path)
        if page is None:
            response = text(HTTPStatus.NOT_FOUND, "There is nothing here.\n")
        elif method not in ("GET", "HEAD"):
            response = text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.\n")
            response.headers["Allow"] = "GET, HEAD"
        else:
            response = page()
        if method == "HEAD":
            response.body = b""
        return response

    def _healthz(self) -> Response:
        return text(HTTPStatus.OK, "ok\n")

    def _readyz(self) -> Response:
        status = HTTPStatus.OK if self._health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        reasons = list(self._health.reasons.values())
        return _json(status, {"ready": self._health.ready, "reasons": reasons})

    def _text(self) -> Response:
        return respond(
            HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self._metrics.text()
        )

    def _page(self) -> Response:
        page = files("bridge.gateways").joinpath("page", "index.html").read_bytes()
        response = respond(HTTPStatus.OK, "text/html; charset=utf-8", page)
        response.headers["Content-Security-Policy"] = _PAGE_MAY
        return response

    def _topics(self) -> Response:
        tables: dict[str, list[str]] = {}
        for table, template in self._hub.routes.templates():
            tables.setdefault(table, []).append(template)
        entries = [{"name": name, "topics": topics} for name, topics in tables.items()]
        return _json(HTTPStatus.OK, {"instance": self._instance, "tables": entries})


# The page holds its script and style itself and talks to nobody but this server.
_PAGE_MAY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def respond(status: HTTPStatus, kind: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Connection": "close",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return Response(status.value, status.phrase, headers, body)


def text(status: HTTPStatus, body: str) -> Response:
    return respond(status, "text/plain; charset=utf-8", body.encode())


def _json(status: HTTPStatus, value: Any) -> Response:
    return respond(status, "application/json", json.dumps(value).encode() + b"\n")
