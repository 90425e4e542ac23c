"""One connection after another: what comes from each, and why it ended.

An end with 4500 or above is final, as is a refusal with a status of 4xx. Any other is
followed by a new connection after a delay with full jitter.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from bridge.backoff import Backoff
from bridge.client.wire import Following, Lost
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    Token: TypeAlias = str | Callable[[], str | Awaitable[str]] | None

FINAL = 4500
"""Close codes from here on say: do not come back."""

PASSING = frozenset({408, 425, 429})
"""Statuses of 4xx that a proxy says of the moment, not of the request."""

MESSAGE = 64 * 1024 * 1024
"""Bytes of the largest message taken; a page may hold one very large row."""

LEAVING = 0.5
"""Seconds to wait for the server's farewell: frames that nobody takes any more keep it back."""


def endpoint(url: str) -> str:
    """The address that `serve` prints, or the WebSocket's own → the latter."""
    scheme, separator, rest = url.partition("://")
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    path = rest.rstrip("/")
    return f"{scheme}{separator}{path if path.endswith('/ws') else f'{path}/ws'}"


async def fresh(token: Token) -> str | None:
    """The token to use now."""
    if not callable(token):
        return token
    made = token()
    return made if isinstance(made, str) else await made


def patience() -> Backoff:
    return Backoff(first=0.5, cap=30.0)


async def messages(
    url: str, topics: Sequence[str], *, backoff: Backoff | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """Every message about these topics, for ever, as the server sends them.

    Raises BridgeError if the server says that coming back is of no use.
    """
    following = Following(topics)
    async with aclosing(received(url, following.commands, backoff=backoff)) as items:
        async for item in items:
            if isinstance(item, str):
                yield json.loads(item)


async def received(
    url: str,
    commands: Callable[[], Iterable[str]],
    *,
    token: Token = None,
    backoff: Backoff | None = None,
) -> AsyncGenerator[str | Lost, None]:
    """Frames, and after each connection a `Lost`; `commands` are sent at the start of each.

    `token` is asked for anew for each. What it raises is raised here.
    """
    backoff = backoff or patience()
    while True:
        reason = "closed"
        try:
            current = await fresh(token)
            async with aclosing(_connected(endpoint(url), commands(), current)) as frames:
                async for frame in frames:
                    backoff.reset()
                    yield frame
        except InvalidURI as error:
            raise BridgeError(f"{url}: {error}; write http://HOST:PORT") from error
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            if final := _final(error):
                raise BridgeError(f"{url}: {final}") from error
            reason = str(error) or type(error).__name__
        lost = Lost(reason, backoff.delay())
        yield lost
        await asyncio.sleep(lost.delay)


async def _connected(
    url: str, commands: Iterable[str], token: str | None
) -> AsyncGenerator[str, None]:
    headers = None if token is None else {"Authorization": f"Bearer {token}"}
    async with connect(
        url,
        max_size=MESSAGE,
        compression=None,
        additional_headers=headers,
        close_timeout=LEAVING,
    ) as connection:
        for command in commands:
            await connection.send(command)
        async for frame in connection:
            if isinstance(frame, str):
                yield frame


def _final(error: Exception) -> str | None:
    """Why coming back is of no use, if it is of none."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status < 500 and status not in PASSING:
            body = (error.response.body or b"").decode(errors="replace").strip()
            return f"refused with {status}: {body}"
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code >= FINAL:
        return f"closed for good: {error.rcvd}"
    return None
