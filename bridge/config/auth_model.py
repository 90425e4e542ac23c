"""The keys of the config's section `auth`, with what each means."""

# No `from __future__ import annotations`: pydantic reads these at run time.
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, WrapValidator

from bridge.config import credentials, values
from bridge.config.sections import Alternative, Section, key
from bridge.patterns import Pattern

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]})
_SAID = {"type": ["string", "integer", "boolean"]}
_WHEN = WithJsonSchema(
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [_SAID, {"type": "array", "items": _SAID}]},
    }
)

Secret: TypeAlias = Annotated[str, PlainValidator(credentials.secret), WithJsonSchema(_TEXT)]
PublicKey: TypeAlias = Annotated[str, PlainValidator(credentials.public_key), WithJsonSchema(_TEXT)]
Address: TypeAlias = Annotated[str, PlainValidator(credentials.jwks_url), WithJsonSchema(_TEXT)]
Algorithm: TypeAlias = Annotated[
    str,
    PlainValidator(credentials.algorithm),
    WithJsonSchema({"enum": [*credentials.SYMMETRIC, *credentials.ASYMMETRIC]}),
]
Texts: TypeAlias = Annotated[tuple[str, ...], PlainValidator(credentials.texts), _TEXTS]
Leeway: TypeAlias = Annotated[
    float,
    PlainValidator(credentials.leeway),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"const": 0}]}),
]
Topics: TypeAlias = Annotated[Pattern, PlainValidator(credentials.pattern), WithJsonSchema(_TEXT)]
Role: TypeAlias = Annotated[str, PlainValidator(credentials.role), WithJsonSchema(_TEXT)]
Setting: TypeAlias = Annotated[str, PlainValidator(credentials.setting), WithJsonSchema(_TEXT)]
When: TypeAlias = Annotated[Mapping[str, Any], PlainValidator(credentials.when), _WHEN]


class Jwt(Section):
    """How tokens are verified: exactly one of secret, public_key and jwks_url."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})

    secret: Secret | None = key(
        "What the bridge and who issues tokens both know (HS256…), of 32 bytes at least.",
        examples=["${JWT_SECRET}"],
    )
    public_key: PublicKey | None = key(
        "The public key of who issues tokens, as PEM (RS256, ES256, EdDSA…).",
        examples=["${file:/run/secrets/jwt.pem}"],
    )
    jwks_url: Address | None = key(
        "Where who issues tokens publishes the public keys.",
        examples=["https://id.example.com/.well-known/jwks.json"],
    )
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] | None = key(
        "The only algorithms taken. Default: those of the key: HS256 for a secret."
    )
    audience: Texts | None = key("One of these has to be in the token's aud.")
    issuer: Texts | None = key("One of these has to be the token's iss.")
    leeway: Leeway | None = key(
        "How far the clocks of who issues tokens and of the bridge may differ.", default="10s"
    )


class Allow(Section):
    """One thing that is allowed."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})

    topic: Topics = Field(
        description="Topics: literal segments, {claims.NAME}, * for one segment, "
        "and at the end ** for all that follows, or nothing.",
        examples=["customers/{claims.customer_id}/**"],
    )
    when: When | None = key(
        "Claims, and what each has to say; of a list, one.", examples=[{"role": ["admin"]}]
    )


class Rls(Section):
    """Row-level security: PostgreSQL's own policies decide which rows somebody sees."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})

    role: Role = Field(
        description="The role that rows are read under, which the policies are for.",
        examples=["app_user"],
    )
    claims: Setting | None = key(
        "The setting that policies find the token's claims in, as JSON.",
        default="request.jwt.claims",
    )


class Auth(Section):
    """Who may see what. Nothing is allowed but what a rule allows."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})

    jwt: Jwt = Field(description="How tokens are verified.")
    allow: Annotated[list[Allow], Field(min_length=1)] = Field(
        description="Rules; a topic may be followed if one of them allows it."
    )
    inspect: When | None = key(
        "Whose claims let them see everything in the inspector. Default: nobody's.",
        examples=[{"role": ["admin"]}],
    )
    rls: Rls | None = key("Have PostgreSQL's policies decide which rows of a topic are seen.")


def _open(value: Any, section: Any) -> Any:
    if value == "none":
        return "none"
    if isinstance(value, dict):
        return section(value)
    raise ValueError(f"{values.shown(value)} must be `none`, or a mapping with jwt and allow")


OpenOrAuth: TypeAlias = Annotated[Auth, WrapValidator(_open), Alternative("none")]
