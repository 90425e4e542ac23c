"""Through whose eyes PostgreSQL reads, where its own policies decide. Pure.

A viewer is the claims of a verified token as JSON, in one spelling: everybody whose
claims are equal sees the same rows, and they are read once for all of them. What differs
between two tokens of the same holder is left out, or every refresh would make another
viewer; policies see exactly this text. None stands for the serving role itself.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Viewer: TypeAlias = str | None

VOLATILE = frozenset({"exp", "iat", "jti", "nbf"})
"""Claims about the token, and not about who holds it."""


def of(claims: Mapping[str, object]) -> str:
    """The viewer that policies are asked about, for the claims of a token."""
    lasting = {name: value for name, value in claims.items() if name not in VOLATILE}
    return json.dumps(lasting, sort_keys=True, separators=(",", ":"))


def label(viewer: Viewer) -> str:
    """Behind the name of what is read, for logs: says which one, and nothing about it."""
    return "" if viewer is None else f" for viewer {sha256(viewer.encode()).hexdigest()[:8]}"
