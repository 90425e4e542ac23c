"""What the section `auth` says about itself, and about the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bridge.config import links, values
from bridge.config.credentials import ASYMMETRIC, SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.source import Data, Path

    Entry: TypeAlias = Mapping[str, Data]
    Finding: TypeAlias = tuple[Path, str]

_SOURCES = ("secret", "public_key", "jwks_url")


def findings(data: Entry) -> Iterator[Finding]:
    auth = data.get("auth")
    if not isinstance(auth, dict):
        return
    jwt = auth.get("jwt")
    if isinstance(jwt, dict):
        yield from _key(jwt)
        yield from _algorithms(jwt)
    yield from _columns(data.get("tables"))


def _key(jwt: Entry) -> Iterator[Finding]:
    given = [name for name in _SOURCES if name in jwt]
    if not given:
        yield ("auth", "jwt"), f"has no key; write one of {', '.join(_SOURCES)}"
    for name in given[1:]:
        yield ("auth", "jwt", name), f"is one key too many beside {given[0]}; keep one"


def _algorithms(jwt: Entry) -> Iterator[Finding]:
    """An algorithm of the other kind would make a public key the secret of everybody."""
    named = jwt.get("algorithms")
    wrong = ASYMMETRIC if "secret" in jwt else SYMMETRIC
    source = next((name for name in _SOURCES if name in jwt), "")
    for index, name in enumerate(named if source and isinstance(named, list) else ()):
        if isinstance(name, str) and name in wrong:
            fit = SYMMETRIC if "secret" in jwt else ASYMMETRIC
            yield (
                ("auth", "jwt", "algorithms", index),
                f"{values.shown(name)} is not for a {source}; use {', '.join(fit)}",
            )


def _columns(tables: Data | None) -> Iterator[Finding]:
    """Where some may not see everything, what leaves the database is said in writing."""
    for name, entry in tables.items() if isinstance(tables, dict) else ():
        table = entry if isinstance(entry, dict) else {}
        if links.served(table) and not {"columns", "exclude"} & set(table):
            yield (
                ("tables", name),
                "with auth, say which columns are sent: list them in columns, or the others in"
                " exclude, or write `columns: all`",
            )
