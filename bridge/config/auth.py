"""Who may see what, as frozen values: the config's section `auth`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.patterns import said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.patterns import Claims, Pattern
    from bridge.topics import Template


@dataclass(frozen=True)
class JwtConfig:
    """How tokens are verified. One of `secret`, `public_key` (PEM) and `jwks_url` is given.

    Empty `algorithms` are those of the key's kind; `leeway` is seconds.
    """

    secret: str | None = field(default=None, repr=False)
    public_key: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()
    leeway: float = 10.0


def meets(when: Mapping[str, tuple[str, ...]], claims: Claims) -> bool:
    """Whether the claims say one of the texts of each name."""
    return all(not set(texts).isdisjoint(said(claims, name)) for name, texts in when.items())


@dataclass(frozen=True)
class Rule:
    """Allows the topics of a pattern to those whose claims say one of the texts of each name."""

    topic: Pattern
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def allows(self, topic: str, template: Template | None, claims: Claims) -> bool:
        return self.topic.fits(topic, template, claims) and meets(self.when, claims)


@dataclass(frozen=True)
class RlsConfig:
    """PostgreSQL's policies decide too: for `role`, with the claims as JSON in a setting."""

    role: str
    claims: str = "request.jwt.claims"


@dataclass(frozen=True)
class AuthConfig:
    """Nothing is allowed but what a rule allows.

    `inspect` is as a rule's `when`: whose claims let them see everything in the inspector.
    """

    jwt: JwtConfig
    allow: tuple[Rule, ...]
    inspect: Mapping[str, tuple[str, ...]] | None = None
    rls: RlsConfig | None = None

    def inspects(self, claims: Claims) -> bool:
        return self.inspect is not None and meets(self.inspect, claims)

    def allows(self, topic: str, template: Template | None, claims: Claims) -> bool:
        """Whether somebody with these claims may follow a topic, which that template makes."""
        return any(rule.allows(topic, template, claims) for rule in self.allow)
