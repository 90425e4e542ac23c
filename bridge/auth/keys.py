"""Key material: what signatures are checked against, and by which algorithms. Pure.

A key has its algorithms by what it is and by what the config says. What a token says of
its own algorithm only has to be one of them: so a public key is never taken for the
secret of an HMAC, and `none` for nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.auth import JwtConfig

RSA_BITS = 2048
"""Shorter ones have been broken."""

SET = 100
"""Keys that are read of a set; who publishes more has something else in mind."""

# What the libraries raise for a JWK that is none is not written down anywhere.
_NO_KEY: tuple[type[Exception], ...] = (
    *(PyJWTError, ValueError, TypeError, ArithmeticError, AttributeError, LookupError),
    *(NotImplementedError, UnsupportedAlgorithm),
)

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class Key:
    """`algorithms` are all that this key is good for."""

    material: Any
    algorithms: tuple[str, ...]


def configured(jwt: JwtConfig) -> Key:
    """The key that is in the config. Raises `ValueError` with what is wrong with it."""
    if jwt.secret is not None:
        return Key(jwt.secret.encode(), jwt.algorithms or ("HS256",))
    assert jwt.public_key is not None
    material = _public(jwt.public_key.encode())
    fit = _fit(material)
    if unfit := [name for name in jwt.algorithms if name not in fit]:
        raise ValueError(f"{', '.join(unfit)} cannot be used with this key; it is for {fit[0]}")
    return Key(material, jwt.algorithms or fit[:1])


def _public(pem: bytes) -> Any:
    try:
        if b"BEGIN CERTIFICATE" in pem:
            return x509.load_pem_x509_certificate(pem).public_key()
        return load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a public key in PEM, nor a certificate") from None


def _fit(material: Any) -> tuple[str, ...]:
    """The algorithms a public key can be used with, the usual one first."""
    if isinstance(material, rsa.RSAPublicKey):
        if material.key_size < RSA_BITS:
            raise ValueError(f"is an RSA key of {material.key_size} bits; {RSA_BITS} are needed")
        return _RSA
    if isinstance(material, ec.EllipticCurvePublicKey) and material.curve.name in _CURVES:
        return (_CURVES[material.curve.name],)
    if isinstance(material, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return ("EdDSA",)
    raise ValueError("is of a kind that is not read here; use RSA, P-256, P-384, P-521 or Ed25519")


def published(text: bytes, algorithms: tuple[str, ...]) -> dict[str | None, Key]:
    """A JWK Set → its keys by `kid`; None names the only key of a set that has no names.

    Keys that are not for checking signatures, or cannot be read, are passed over. Raises
    `ValueError` where this is no set, or nothing is left of it.
    """
    try:
        listed = json.loads(text)["keys"][:SET]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("is not a JWK Set") from None
    found = dict(_usable(listed, algorithms))
    if not found:
        raise ValueError("has no key that can be used")
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def _usable(listed: list[Any], algorithms: tuple[str, ...]) -> Iterator[tuple[str | None, Key]]:
    for jwk in listed:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("kty") == "oct":
            continue
        try:
            material = PyJWK.from_dict(jwk).key
            fit = _fit(material)
        except _NO_KEY:
            continue
        own = (jwk["alg"],) if "alg" in jwk else fit if algorithms else fit[:1]
        if good := tuple(name for name in own if name in fit and name in (algorithms or own)):
            kid = jwk.get("kid")
            yield (kid if isinstance(kid, str) else None), Key(material, good)
