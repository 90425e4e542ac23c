"""Who comes in with which token, and what they may follow."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from bridge import viewer
from bridge.auth import jwks, keys, tokens
from bridge.errors import ConfigError, ProtocolError
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.auth.keys import Key
    from bridge.auth.tokens import Grant
    from bridge.config import Config
    from bridge.topics import Template
    from bridge.viewer import Viewer


class Guard:
    """Decides by the config's section `auth`. `clock` is seconds since 1970.

    Raises ConfigError if the key in the config is none.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        assert config.guard is not None
        self._auth = config.guard
        self._clock = clock
        self._key: Key | None = None
        if (url := self._auth.jwt.jwks_url) is not None:
            self._set = jwks.KeySet(partial(jwks.fetch, url), self._auth.jwt.algorithms)
        else:
            self._key = _configured(config)

    async def admit(self, token: str) -> Grant:
        """Raises TokenError, or ProtocolError `unavailable` while there are no keys."""
        kid = tokens.kid(token)
        key = self._key or await self._set.find(kid)
        return tokens.verify(token, key, self._auth.jwt, self._clock())

    def inspects(self, grant: Grant | None) -> bool:
        """Whether who holds the grant may see what became of others."""
        return grant is not None and self._auth.inspects(grant.claims)

    def check(self, grant: Grant | None, topic: str, template: Template | None) -> Viewer:
        """As whom who holds the grant sees the topic: None where no policies are asked.

        Raises ProtocolError unless it may be followed now.
        """
        if grant is None:
            raise ProtocolError(ErrorCode.UNAUTHENTICATED, "send a token first")
        if not self._auth.allows(topic, template, grant.claims):
            raise ProtocolError(ErrorCode.FORBIDDEN, "your token does not allow this topic")
        return viewer.of(grant.claims) if self._auth.rls else None


def _configured(config: Config) -> Key:
    assert config.guard is not None
    try:
        return keys.configured(config.guard.jwt)
    except ValueError as error:
        name = "secret" if config.guard.jwt.secret is not None else "public_key"
        raise ConfigError([config.problem(str(error), "auth", "jwt", name)]) from None
