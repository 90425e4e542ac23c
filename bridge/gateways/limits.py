"""Who takes too much: by address, by user, by connection. Each refusal is counted."""

from __future__ import annotations

import ipaddress
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.errors import LimitError
from bridge.rates import Arrivals, Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.http11 import Request

    from bridge.config import Config
    from bridge.metrics import Metrics


class Limits:
    """The limits of one gateway. What is past one raises LimitError."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._settings = config.limits
        self._proxies = [ipaddress.ip_network(proxy) for proxy in config.server.proxies]
        self._metrics = metrics
        self._arrivals = Arrivals(config.limits.address_rate)
        self._users: Counter[str] = Counter()

    def fits(self, request: Request) -> bool:
        """Whether the request's line and headers are not too long together."""
        if size(request) <= self._settings.headers:
            return True
        self._metrics.over_limit.inc()
        return False

    def arrive(self, peer: str, request: Request, now: float) -> None:
        """Somebody sent a request, from this address at the other end of the connection."""
        if not self._arrivals.take(self._address(peer, request), now):
            raise self.passed("too many connections from this address; try again")

    def _address(self, peer: str, request: Request) -> str:
        """Whom a proxy of ours connected for: the last address that is not a proxy's of ours."""
        if not self._trusted(peer):
            return peer
        said = ",".join(request.headers.get_all("X-Forwarded-For")).split(",")
        entries = [entry.strip() for entry in said if entry.strip()]
        return next((entry for entry in reversed(entries) if not self._trusted(entry)), peer)

    def _trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)

    def connect(self, connected: int) -> None:
        if connected >= self._settings.connections:
            raise self.passed("too many connections; try again")
        self._metrics.connections.inc()

    @contextmanager
    def seat(self, user: str) -> Iterator[None]:
        """A connection of a user; nobody in particular has no name, and no limit."""
        if user and self._users[user] >= self._settings.user_connections:
            raise self.passed("too many connections of this user; try again")
        self._users[user] += 1
        try:
            yield
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    def commands(self, now: float) -> Bucket:
        """What one connection may send; at first it may follow all its topics at once."""
        rate = self._settings.command_rate
        return Bucket(rate, rate + self._settings.subscriptions, now)

    def passed(self, message: str) -> LimitError:
        """The error for a limit that was passed, counted."""
        self._metrics.over_limit.inc()
        return LimitError("unavailable", message)


def size(request: Request) -> int:
    """Bytes of a request's line and headers, as they are usually written."""
    line = len(f"{request.method} {request.path} {request.protocol}\r\n")
    return line + sum(len(f"{n}: {v}\r\n") for n, v in request.headers.raw_items()) + 2
