"""Who issues tokens, for tests: keys made once, and tokens signed by them, good and bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


@cache
def private(kind: str) -> Any:
    """`rsa`, `rsa1024`, `other` (another RSA key), `ec`, `ec384`, `ed`."""
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            size = 1024 if kind == "rsa1024" else 2048
            return rsa.generate_private_key(public_exponent=65537, key_size=size)


def pem(kind: str) -> str:
    return (
        private(kind)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(kind: str) -> str:
    return (
        private(kind)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def jwk(kind: str, **more: object) -> dict[str, object]:
    """The public key as a JWK."""
    algorithm = {"ec": "ES256", "ec384": "ES384", "ed": "EdDSA"}.get(kind, "RS256")
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(private(kind).public_key(), as_dict=True)
    return {name: value for name, value in made.items() if name != "key_ops"} | more


def token(key: Any = SECRET, algorithm: str = "HS256", /, **claims: Any) -> str:
    """Good for an hour, unless the claims say otherwise; a claim of None is left out."""
    headers = claims.pop("headers", None)
    claims = {"exp": int(time.time()) + 3600} | claims
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers=headers)


def by_hand(header: object, claims: object, secret: bytes = SECRET.encode()) -> str:
    """Anything at all, with an HS256 signature that is right."""
    parts = [_coded(part if isinstance(part, bytes) else json.dumps(part).encode())
             for part in (header, claims)]  # fmt: skip
    signed = ".".join(parts)
    return f"{signed}.{_coded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
