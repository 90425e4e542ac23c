"""Thirty tokens and more: what each is taken for. None that should be refused is taken."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.auth import keys, tokens
from bridge.config.auth import JwtConfig
from bridge.errors import TokenError
from tests.support.tokens import SECRET, by_hand, jwk, pem, private, token

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.auth.tokens import Grant

NOW = 1_800_000_000.0
HEADER = {"alg": "HS256", "typ": "JWT"}
FINE = {"exp": NOW + 60, "sub": "ann", "aud": "rowcast", "iss": "https://id.example"}
CONFIG = JwtConfig(secret=SECRET, audience=("rowcast", "other"), issuer=("https://id.example",))
BARE = JwtConfig(secret=SECRET)


def verified(text: str, config: JwtConfig = CONFIG, now: float = NOW) -> Grant:
    tokens.kid(text)
    return tokens.verify(text, keys.configured(config), config, now)


def hs(**claims: Any) -> str:
    return by_hand(HEADER, {k: v for k, v in (FINE | claims).items() if v != "left out"})


def rs(algorithm: str = "RS256", key: str = "rsa", **headers: object) -> str:
    return token(private(key), algorithm, headers=headers, **FINE)


def test_a_good_token() -> None:
    grant = verified(hs(tenant=7))
    assert grant.claims["tenant"] == 7
    assert (grant.expires, grant.user) == (NOW + 70, "ann")
    assert "tenant" not in repr(grant)


GOOD = {
    "no sub": hs(sub="left out"),
    "a list as audience": hs(aud=["x", "rowcast"]),
    "exp as a fraction": hs(exp=NOW + 0.5),
    "expired, but within leeway": hs(exp=NOW - 9),
    "nbf within leeway": hs(nbf=NOW + 9),
    "iat in the future": hs(iat=NOW + 1000),
    "iat in quotes": hs(iat="never"),
    "kid of another world": by_hand(HEADER | {"kid": "../../etc/passwd"}, FINE),
    "kid of 4,000 characters": by_hand(HEADER | {"kid": "k" * 4000}, FINE),
    "jku, x5u and jwk are not followed": by_hand(
        HEADER | {"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "jwk": {"kty": "x"}},
        FINE,
    ),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_tokens_that_are_taken(text: str) -> None:
    assert verified(text).expires > NOW


BAD: dict[str, tuple[str, str]] = {
    "empty": ("", "not valid"),
    "one segment": ("abc", "not valid"),
    "two segments": ("a.b", "not valid"),
    "four segments": (hs() + ".x", "not valid"),
    "not base64": ("é.ü.ä", "not valid"),
    "a signature of one bit less": (hs()[:-1], "not valid"),
    "signed with another secret": (by_hand(HEADER, FINE, b"x" * 40), "not valid"),
    "no signature": (hs().rpartition(".")[0] + ".", "not valid"),
    "claims of another token": (".".join([*hs().split(".")[:1], "e30", hs().split(".")[2]]), "not"),
    "alg none": (by_hand({"alg": "none"}, FINE), "not valid"),
    "alg None": (by_hand({"alg": "None"}, FINE, b""), "not valid"),
    "no alg": (by_hand({"typ": "JWT"}, FINE), "not valid"),
    "alg of another size": (by_hand({"alg": "HS512"}, FINE), "not valid"),
    "alg as a list": (by_hand({"alg": ["HS256"]}, FINE), "not valid"),
    "alg in lower case": (by_hand({"alg": "hs256"}, FINE), "not valid"),
    "RS256 where a secret is": (rs(), "not valid"),
    "a header that is a list": (by_hand([1], FINE), "not valid"),
    "a header that is deep": (by_hand(b"[" * 3000, FINE), "not valid"),
    "kid as a number": (by_hand(HEADER | {"kid": 1}, FINE), "not valid"),
    "crit that is not known": (by_hand(HEADER | {"crit": ["x"], "x": 1}, FINE), "not valid"),
    "payload not encoded": (by_hand(HEADER | {"b64": False, "crit": ["b64"]}, FINE), "not valid"),
    "claims that are a list": (by_hand(HEADER, [1]), "not valid"),
    "claims that are no JSON": (by_hand(HEADER, b"{"), "not valid"),
    "claims that are deep": (by_hand(HEADER, b'{"a":' + b"[" * 2000), "not valid"),
    "over 8 KiB": (hs(pad="x" * 6500), "over 8192 characters"),
    "no exp": (hs(exp="left out"), "no exp"),
    "exp null": (hs(exp=None), "no exp"),
    "exp in quotes": (hs(exp=str(NOW + 60)), "exp is not a number"),
    "exp true": (hs(exp=True), "exp is not a number"),
    "exp a list": (hs(exp=[NOW + 60]), "exp is not a number"),
    "exp infinite": (by_hand(HEADER, b'{"exp":Infinity,"aud":"rowcast"}'), "not valid"),
    "exp of 400 digits": (hs(exp=10**400), "exp is not a number"),
    "exp not a number": (hs(exp=float("nan")), "exp is not a number"),
    "expired": (hs(exp=NOW - 11), "has expired"),
    "expired since 1970": (hs(exp=-1), "has expired"),
    "nbf in the future": (hs(nbf=NOW + 11), "not valid yet"),
    "nbf in quotes": (hs(nbf="0"), "nbf is not a number"),
    "no audience": (hs(aud="left out"), "not valid"),
    "another audience": (hs(aud="evil"), "another audience"),
    "audience of a longer name": (hs(aud="rowcast2"), "another audience"),
    "audience a number": (hs(aud=7), "another audience"),
    "no issuer": (hs(iss="left out"), "not valid"),
    "another issuer": (hs(iss="https://id.example.evil"), "another issuer"),
    "issuer a list": (hs(iss=["https://id.example"]), "another issuer"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_tokens_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason) as caught:
        verified(text)
    assert caught.value.code == "unauthenticated"
    assert caught.value.expired is ("has expired" in reason)
    assert caught.value.__cause__ is None


def test_an_audience_that_nobody_asked_for() -> None:
    with pytest.raises(TokenError, match="another audience"):
        verified(hs(), BARE)
    assert verified(hs(aud="left out", iss="left out"), BARE)


@pytest.mark.parametrize(
    ("kind", "algorithms", "signed", "by", "fine"),
    [
        ("rsa", (), "RS256", "rsa", True),
        ("rsa", (), "PS256", "rsa", False),
        ("rsa", ("PS256", "RS512"), "PS256", "rsa", True),
        ("rsa", ("PS256", "RS512"), "RS256", "rsa", False),
        ("rsa", (), "RS256", "other", False),
        ("rsa", (), "ES256", "ec", False),
        ("ec", (), "ES256", "ec", True),
        ("ec", (), "RS256", "rsa", False),
        ("ec384", (), "ES384", "ec384", True),
        ("ec384", (), "ES256", "ec", False),
        ("ed", (), "EdDSA", "ed", True),
    ],
)
def test_public_keys(
    kind: str, algorithms: tuple[str, ...], signed: str, by: str, fine: bool
) -> None:
    config = JwtConfig(public_key=pem(kind), algorithms=algorithms)
    text = token(private(by), signed, exp=NOW + 60)
    if fine:
        assert verified(text, config).expires == NOW + 70
    else:
        with pytest.raises(TokenError, match="not valid"):
            verified(text, config)


@pytest.mark.parametrize(
    "spelled", [pem("rsa"), pem("rsa").strip(), pem("rsa").replace("\n", "\r\n")]
)
def test_a_public_key_is_never_a_secret(spelled: str) -> None:
    config = JwtConfig(public_key=pem("rsa"))
    for algorithm in ("HS256", "RS256", "none"):
        text = by_hand({"alg": algorithm}, FINE, spelled.encode())
        with pytest.raises(TokenError, match="not valid"):
            verified(text, config)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            JwtConfig(public_key="-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"),
            "is not a",
        ),
        (JwtConfig(public_key=pem("rsa1024")), "1024 bits; 2048 are needed"),
        (JwtConfig(public_key=pem("ec"), algorithms=("ES384",)), "ES384 cannot be used with"),
        (JwtConfig(public_key=pem("rsa"), algorithms=("RS256", "EdDSA")), "EdDSA cannot be used"),
    ],
)
def test_keys_that_are_refused(config: JwtConfig, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        keys.configured(config)


def published(*jwks: object, algorithms: tuple[str, ...] = ()) -> dict[str | None, keys.Key]:
    return keys.published(json.dumps({"keys": jwks}).encode(), algorithms)


def test_a_set_of_keys() -> None:
    found = published(
        jwk("rsa", kid="a", alg="RS512"),
        jwk("ec", kid="b"),
        jwk("rsa", kid="encrypts", use="enc"),
        jwk("rsa1024", kid="short"),
        jwk("rsa", kid="odd", alg="HS256"),
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "new", "kid": "unheard"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": 3},
        jwk("rsa", kid="unsigned", alg="none"),
        7,
    )
    assert {kid: key.algorithms for kid, key in found.items()} == {"a": ("RS512",), "b": ("ES256",)}
    assert published(jwk("ed"))[None].algorithms == ("EdDSA",)
    only = published(jwk("rsa", kid="a"), algorithms=("PS256", "RS384", "ES256"))
    assert set(only["a"].algorithms) == {"PS256", "RS384"}
    assert only[None] is only["a"]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys":1}', b'{"keys":[]}', b"[" * 9999])
def test_what_is_no_set(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not a JWK Set|no key that can be used"):
        keys.published(text, ())


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_FIELDS = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "d", "kid", "use", "alg", "oth"])
_SAID = st.sampled_from(["RSA", "EC", "OKP", "P-521", "Ed448", "X25519", "none", "HS256", "AQAB"])


@given(
    st.lists(
        st.builds(
            dict.__or__,
            st.sampled_from(["rsa", "ec", "ed"]).map(jwk),
            st.dictionaries(_FIELDS, _SAID | _JSON, max_size=3),
        )
        | _JSON,
        max_size=4,
    )
)
def test_any_set_is_keys_or_none(listed: list[object]) -> None:
    """One odd key spoils no other, and what is published ends nothing."""
    assert set(published(jwk("ec384", kid="good"), *listed)) >= {"good"}
    with suppress(ValueError):
        published(*listed)


_MADE: st.SearchStrategy[Callable[[], str]] = st.builds(
    by_hand,
    _JSON | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit"]), _JSON),
    _JSON | st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub"]), _JSON),
)


@given(
    st.text()
    | _MADE
    | st.dictionaries(st.sampled_from([*FINE, "nbf", "iat"]), _JSON).map(lambda odd: hs(**odd))
)
def test_any_text_is_a_grant_or_a_token_error(text: str) -> None:
    with warnings.catch_warnings(action="error"):
        try:
            grant = verified(text)
        except TokenError:
            return
    assert grant.expires > NOW
