"""One token, a key and the time → what it grants, or why it grants nothing. Pure.

Who holds a token with a good signature is told what is wrong with it; of any other
nothing is said but that it is not valid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from jwt.exceptions import InvalidAudienceError, InvalidIssuerError, PyJWTError

from bridge.errors import TokenError

if TYPE_CHECKING:
    from bridge.auth.keys import Key
    from bridge.config.auth import JwtConfig
    from bridge.patterns import Claims

LONGEST = 8192
"""Characters of a token; what is longer is not looked at."""

# Times are looked at here, where `now` is known.
_CHECKED = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False}


@dataclass(frozen=True, slots=True)
class Grant:
    """`expires` is seconds since 1970, leeway included; `user` is empty where none is named."""

    claims: Claims = field(repr=False)
    expires: float
    user: str = ""


def kid(token: str) -> str | None:
    """The name of the key a token says it was signed with. Raises TokenError."""
    if len(token) > LONGEST:
        raise TokenError(f"the token is over {LONGEST} characters")
    try:
        found = jwt.get_unverified_header(token).get("kid")
    except (PyJWTError, ValueError):
        raise TokenError("the token is not valid") from None
    return found if isinstance(found, str) else None


def verify(token: str, key: Key, config: JwtConfig, now: float) -> Grant:
    """Raises TokenError."""
    claims = _decoded(token, key, config)
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenError("the token has no exp")
    if now >= expires + config.leeway:
        raise TokenError("the token has expired", expired=True)
    begins = _time(claims, "nbf")
    if begins is not None and now < begins - config.leeway:
        raise TokenError("the token is not valid yet")
    user = claims.get("sub")
    return Grant(claims, expires + config.leeway, user if isinstance(user, str) else "")


def _decoded(token: str, key: Key, config: JwtConfig) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key.material,
            algorithms=list(key.algorithms),
            audience=config.audience or None,
            issuer=config.issuer or None,
            options=_CHECKED,  # type: ignore[arg-type]
        )
    except InvalidAudienceError:
        raise TokenError("the token is for another audience") from None
    except InvalidIssuerError:
        raise TokenError("the token is of another issuer") from None
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise TokenError("the token is not valid") from None


def _time(claims: dict[str, Any], name: str) -> float | None:
    """A moment of the token; PyJWT would also read digits in quotes."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _fits(value):
        raise TokenError(f"the token's {name} is not a number of seconds")
    return float(value)


def _fits(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
