"""Who is on the other end, how long they may stay, and what they may follow there.

Without a section `auth` in the config everybody may follow everything. With one, a
connection has the grant of one token at a time, or of none yet; every topic is asked
about before it is followed, and again when another token comes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from websockets.typing import Subprotocol

from bridge.errors import BridgeError, ProtocolError, TokenError
from bridge.wire import CloseCode, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from websockets.datastructures import Headers

    from bridge.auth.guard import Guard
    from bridge.auth.tokens import Grant
    from bridge.config import Config
    from bridge.hub import Hub
    from bridge.metrics import Metrics
    from bridge.topics import Template
    from bridge.viewer import Viewer

SUBPROTOCOL = Subprotocol("rowcast")
BEARER = "bearer."

LOOK = 3600.0
"""Seconds at most until a token's end is looked at again: the clock of the day may be set."""


class Entry(NamedTuple):
    """A request's token: what it grants, or why it grants nothing. Neither where there is none."""

    grant: Grant | None
    error: ProtocolError | None

    @property
    def passes(self) -> bool:
        """Whether there is no telling now, and trying again may help."""
        return self.error is not None and not isinstance(self.error, TokenError)

    @property
    def user(self) -> str:
        return "" if self.grant is None else self.grant.user


def no_token() -> ProtocolError:
    """For who asks over plain HTTP without one."""
    return ProtocolError(ErrorCode.UNAUTHENTICATED, "send a token as Authorization: Bearer")


class Access:
    """Admits, and decides about topics. Raises BridgeError where the config asks for what is not
    installed, ConfigError where its key is none."""

    def __init__(self, config: Config, hub: Hub, metrics: Metrics) -> None:
        self._guard = guard(config)
        self._hub = hub
        self._metrics = metrics
        self.guarded = self._guard is not None

    async def enter(self, headers: Headers, query: str) -> Entry:
        """What the token of a request is good for."""
        if self._guard is None:
            return Entry(None, None)
        try:
            token = presented(headers, query)
            return Entry(None if token is None else await self.admit(token), None)
        except ProtocolError as error:
            return Entry(None, error)

    async def admit(self, token: str) -> Grant | None:
        """None where none is needed. Raises ProtocolError."""
        if self._guard is None:
            return None
        try:
            return await self._guard.admit(token)
        except TokenError:
            self._metrics.unauthenticated.inc()
            raise

    def known(self, entry: Entry) -> bool:
        """Whether who asks has a good token, or needs none."""
        return entry.grant is not None or not self.guarded

    def inspects(self, entry: Entry) -> bool:
        """Whether the inspector tells who asks about others, too."""
        return self._guard is None or self._guard.inspects(entry.grant)

    def check(self, grant: Grant | None, topic: str) -> Viewer:
        """As whom the topic is seen. Raises ProtocolError if it may not be followed."""
        if self._guard is None:
            return None
        try:
            return self._guard.check(grant, topic, self._template(topic))
        except ProtocolError:
            self._metrics.forbidden.inc()
            self._note(topic, grant)
            raise

    def _note(self, topic: str, grant: Grant | None) -> None:
        if self._hub.trace is not None and (route := self._hub.routes.route(topic)):
            user = "" if grant is None else grant.user
            self._hub.trace.denied(route.table.name, topic, user)

    def _template(self, topic: str) -> Template | None:
        try:
            return self._hub.routes.resolve(topic)[0].template
        except ProtocolError:
            return None


def guard(config: Config) -> Guard | None:
    """What the config's `auth` asks for. Raises BridgeError where that cannot be had."""
    if config.guard is None:
        return None
    try:
        from bridge.auth.guard import Guard
    except ModuleNotFoundError as error:
        if error.name not in ("jwt", "cryptography"):
            raise
        raise BridgeError(
            "the config has `auth`, which needs PyJWT; run: pip install 'rowcast[auth]'"
        ) from None
    return Guard(config)


def presented(headers: Headers, query: str) -> str | None:
    """The token a request came with, whichever way. Raises TokenError if there are several."""
    found = [*_authorized(headers), *_offered(headers), *_asked(query)]
    if len(found) > 1:
        raise TokenError("more than one token; send one")
    return found[0] if found else None


def _authorized(headers: Headers) -> list[str]:
    """Other schemes are for a proxy in front."""
    schemes = [value.partition(" ") for value in headers.get_all("Authorization")]
    return [token.strip() for scheme, _, token in schemes if scheme.lower() == "bearer"]


def _offered(headers: Headers) -> list[str]:
    offers = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
    return [o.strip().removeprefix(BEARER) for o in offers if o.strip().startswith(BEARER)]


def _asked(query: str) -> list[str]:
    return parse_qs(query, keep_blank_values=True).get("token", [])


def subprotocol(_: object, offers: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one to answer with: a browser closes a connection whose offers were all passed over."""
    if SUBPROTOCOL in offers:
        return SUBPROTOCOL
    return next((offer for offer in offers if offer.startswith(BEARER)), None)


class Stay:
    """One connection's grant, and the end of it. `end` closes the connection."""

    __slots__ = ("_end", "_timer", "grant")

    def __init__(self, end: Callable[[int, str], None]) -> None:
        self.grant: Grant | None = None
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float) -> None:
        """Give so long for a token to come."""
        self._later(seconds, lambda: self._end(CloseCode.TOKEN_EXPIRED, "no token came in time"))

    def begin(self, grant: Grant) -> None:
        self.grant = grant
        self._look()

    def _look(self) -> None:
        assert self.grant is not None
        left = self.grant.expires - time.time()
        if left > 0:
            self._later(min(left, LOOK), self._look)
        else:
            self.grant = None
            self._end(CloseCode.TOKEN_EXPIRED, "the token has expired")

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self.over()
        self._timer = asyncio.get_running_loop().call_later(seconds, act)

    def over(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
