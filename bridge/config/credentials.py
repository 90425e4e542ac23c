"""The values of the config's section `auth`: what YAML read → what tokens are verified by.

As in `values`, each function raises `ValueError` with the remedy. None quotes a key.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.config import quantities, values
from bridge.config.source import Filled, Scalar
from bridge.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.source import Data

SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)

_SETTING = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)

SECRET = 32
"""Bytes that an HMAC secret has at least; a shorter one can be guessed from any token."""


def secret(value: Data) -> str:
    """What both sides know, of `SECRET` bytes or more."""
    # Unlike other values, one that is not text is not quoted.
    written = str(value) if isinstance(value, str) else ""
    if len(written.encode()) < SECRET:
        raise ValueError(
            f"is not text of {SECRET} bytes or more, so one token is enough to guess it; make a"
            " new one, for example with `openssl rand -hex 32`"
        )
    if "-----BEGIN" in written:
        raise ValueError("is a key in PEM; a public one belongs in public_key")
    return written


def public_key(value: Data) -> str:
    """PEM; whether it is a key is found out by who uses it."""
    written = values.text(value)
    if "PRIVATE KEY-----" in written:
        raise ValueError("is a private key, which only who issues tokens may have; give its public")
    if "-----BEGIN" not in written:
        raise ValueError("is not PEM; it begins with -----BEGIN, or write ${file:/path/to/key.pem}")
    return written


def jwks_url(value: Data) -> str:
    """An address that is always the same one; plain http only on this machine."""
    written = values.text(value)
    try:
        url = urlsplit(written)
        host, _ = url.hostname or "", url.port
    except ValueError:
        host = ""
    if not host or url.scheme not in ("http", "https") or "{" in written:
        raise ValueError(f"{values.shown(value)} is not an address; write https://…")
    if url.username is not None or url.fragment:
        raise ValueError("an address with a user or a '#' is not read here; remove it")
    if url.scheme == "http" and not values.is_loopback(host):
        raise ValueError(
            f"{values.shown(value)} is not encrypted, and who can change the answer can make"
            " tokens; write https://…"
        )
    return written


def algorithm(value: Data) -> str:
    """One that PyJWT and RFC 7518 know; never `none`."""
    known = (*SYMMETRIC, *ASYMMETRIC)
    if isinstance(value, str) and value in known:
        return str(value)
    raise ValueError(f"{values.shown(value)} must be one of {', '.join(known)}")


def texts(value: Data) -> tuple[str, ...]:
    """One text, or a list of them."""
    if isinstance(value, list) and not value:
        raise ValueError("is an empty list; remove the key, or write a text")
    return tuple(map(values.text, value if isinstance(value, list) else [value]))


def leeway(value: Data) -> float:
    """How far the clocks of two machines may differ."""
    seconds = quantities.duration(value)
    if seconds > 30:
        raise ValueError(f"{values.shown(value)} is over 30s; set the clocks right instead")
    return seconds


def role(value: Data) -> str:
    """A role of the database; not the word that means "the session's own"."""
    written = values.text(value)
    if written.lower() == "none":
        raise ValueError("would be the serving role itself; name a role that policies apply to")
    return written


def setting(value: Data) -> str:
    """A setting that PostgreSQL knows nothing about: one with a dot in its name."""
    written = values.text(value)
    if not _SETTING.fullmatch(written):
        raise ValueError(
            f"{values.shown(value)} must be a name with a dot, such as request.jwt.claims"
        )
    return written


def pattern(value: Data) -> Pattern:
    """`customers/{claims.customer_id}/**`."""
    written = values.text(value)
    try:
        return Pattern.parse(written)
    except ValueError as error:
        reason = "is not a pattern of topics" if isinstance(value, Filled) else error
        raise ValueError(f"{values.shown(value)}: {reason}") from None


def when(value: Data) -> Mapping[str, tuple[str, ...]]:
    """Claims and what they have to say: a text, a number, `true`, or a list of these."""
    if not isinstance(value, dict) or not value:
        raise ValueError("must be a mapping, such as `{role: [admin, support]}`")
    return MappingProxyType({name: _alternatives(name, said) for name, said in value.items()})


def _alternatives(name: str, value: Data) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    found = tuple(map(_plain, items))
    if not found or None in found:
        raise ValueError(f"{name}: must be a text, a number, true, false, or a list of these")
    return tuple(item for item in found if item is not None)


def _plain(value: Data) -> str | None:
    if isinstance(value, Scalar):
        return value.text if value.kind in ("int", "bool") else None
    return value if isinstance(value, str) and value else None
