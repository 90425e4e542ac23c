"""The config's section `auth`: what it says, and what a bad one is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bridge.config import Config, loads
from bridge.config.auth import RlsConfig
from bridge.errors import BridgeError, ConfigError
from bridge.gateways.access import guard
from tests.support.tokens import SECRET, pem, private_pem

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.errors import Problem

ENV = {"DATABASE_URL": "postgresql://app:s3cret@db.example.com/shop", "S": SECRET, "K": pem("rsa")}
OPEN = "tables: {t: {columns: all}}\n"
RULE = "allow: [{topic: '**'}]"
JWT = "jwt: {secret: '${S}'}"


def auth(section: str) -> Config:
    return loads(f"{OPEN}auth: {section}", env=ENV)


def problems(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        loads(text, env=ENV)
    assert SECRET not in str(caught.value)
    return list(caught.value.problems)


def test_rules_and_keys() -> None:
    config = auth(
        "{jwt: {secret: '${S}', algorithms: [HS256, HS512], audience: a, issuer: [b, c],"
        " leeway: 5s}, allow: [{topic: 'x/{claims.id}/**'},"
        " {topic: 'y/**', when: {role: [admin, support], level: 3, ok: true}}]}"
    )
    guard = config.guard
    assert guard is not None
    assert guard.jwt.secret == SECRET
    assert guard.jwt.algorithms == ("HS256", "HS512")
    assert (guard.jwt.audience, guard.jwt.issuer, guard.jwt.leeway) == (("a",), ("b", "c"), 5.0)
    assert guard.allow[1].when == {"role": ("admin", "support"), "level": ("3",), "ok": ("true",)}
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("claims", "topic", "fine"),
    [
        ({"id": 7}, "x/7/a", True),
        ({"id": 8}, "x/7/a", False),
        ({}, "y/1", False),
        ({"role": "admin", "level": 3}, "y/1", True),
        ({"role": ["guest", "support"], "level": "3"}, "y", True),
        ({"role": "admin"}, "y/1", False),
        ({"role": ["guest"], "level": 3}, "y/1", False),
        ({"role": "Admin", "level": 3}, "y/1", False),
        ({"role": {"admin": True}, "level": 3}, "y/1", False),
        ({"role": "admin", "level": 3}, "z", False),
    ],
)
def test_decisions(claims: dict[str, object], topic: str, fine: bool) -> None:
    guard = auth(
        f"{{{JWT}, allow: [{{topic: 'x/{{claims.id}}/**'}},"
        " {topic: 'y/**', when: {role: [admin, support], level: 3}}]}"
    ).guard
    assert guard is not None
    assert guard.allows(topic, None, claims) is fine


def test_no_section_is_open_on_loopback_only() -> None:
    assert loads(OPEN, env=ENV).guard is None
    assert auth("none").guard is None
    host = "server: {host: 0.0.0.0}"
    (problem,) = problems(OPEN + host)
    assert "say in `auth` who may, or write `auth: none`" in problem.message
    for section in ("none", f"{{{JWT}, {RULE}}}"):
        assert loads(f"{OPEN}{host}\nauth: {section}", env=ENV).exposed is None


def test_columns_are_said_in_writing() -> None:
    text = "tables: {t: , u: {columns: [a]}, v: {exclude: [a]}, w: {columns: all},"
    text += f" x: {{refreshes: t}}}}\nauth: {{{JWT}, {RULE}}}"
    (problem,) = problems(text)
    assert (problem.path, problem.column) == ("tables.t", 10)
    assert "write `columns: all`" in problem.message
    assert loads("tables: {t: {columns: all}}", env=ENV).tables["t"].columns is None


BAD = [  # `|` marks the place
    (f"{{{JWT}, |allow: []}}", "is an empty list, which allows nothing"),
    (f"{{{JWT}, allow: [|{{when: {{a: b}}}}]}}", "topic: is missing; say which topics"),
    ("|yes", "must be `none`, or a mapping"),
    ("|on", "must be `none`, or a mapping"),
    (f"{{|jwt: {{}}, {RULE}}}", "has no key; write one of secret, public_key, jwks_url"),
    (f"{{jwt: {{secret: '${{S}}', public_key: |'${{K}}'}}, {RULE}}}", "one key too many"),
    (f"{{jwt: {{secret: |short}}, {RULE}}}", "is not text of 32 bytes or more"),
    (f"{{jwt: {{secret: |{'1' * 40}}}, {RULE}}}", "is not text of 32 bytes"),
    (f"{{jwt: {{secret: |'${{K}}'}}, {RULE}}}", "a public one belongs in public_key"),
    (f"{{jwt: {{public_key: |abc}}, {RULE}}}", "is not PEM"),
    (f"{{jwt: {{|secrett: abc}}, {RULE}}}", "unknown key (did you mean 'secret'?)"),
    (f"{{jwt: {{|allow: abc}}, {RULE}}}", "it belongs under `auth`"),
    (f"{{{JWT}, allow: [{{topic: a, |whenn: 1}}]}}", "(did you mean 'when'?)"),
    (f"{{{JWT}, allow: [|a]}}", "must be a mapping"),
    (f"{{{JWT}, allow: [{{topic: |'a/{{id}}'}}]}}", "is not '{claims.NAME}'"),
    (f"{{{JWT}, allow: [{{topic: a, when: |x}}]}}", "must be a mapping, such as"),
    (f"{{{JWT}, allow: [{{topic: a, |when: {{x: [1.5]}}}}]}}", "x: must be a text, a number"),
    (f"{{{JWT}, allow: [{{topic: a, |when: {{x: }}}}]}}", "x: must be a text, a number"),
    (f"{{jwt: {{jwks_url: |'http://id.example/'}}, {RULE}}}", "is not encrypted"),
    (f"{{jwt: {{jwks_url: |'https://u:p@id.example/'}}, {RULE}}}", "with a user or a '#'"),
    (f"{{jwt: {{jwks_url: |'https://{{iss}}/'}}, {RULE}}}", "is not an address"),
    (f"{{jwt: {{jwks_url: |'file:///etc/passwd'}}, {RULE}}}", "is not an address"),
    (f"{{jwt: {{secret: '${{S}}', algorithms: [|none]}}, {RULE}}}", "must be one of HS256"),
    (f"{{jwt: {{secret: '${{S}}', algorithms: [|RS256]}}, {RULE}}}", "is not for a secret"),
    (f"{{jwt: {{public_key: '${{K}}', algorithms: [|HS256]}}, {RULE}}}", "is not for a public_key"),
    (f"{{jwt: {{secret: '${{S}}', leeway: |1m}}, {RULE}}}", "is over 30s"),
    (f"{{jwt: {{secret: '${{S}}', |audience: []}}, {RULE}}}", "is an empty list"),
    (f"{{jwt: {{secret: |'${{file:/nowhere/x}}'}}, {RULE}}}", "cannot read /nowhere/x"),
    (f"{{{JWT}, {RULE}, |rls: {{}}}}", "role: is missing"),
    (f"{{{JWT}, {RULE}, rls: {{role: |'None'}}}}", "would be the serving role itself"),
    (f"{{{JWT}, {RULE}, rls: {{role: |''}}}}", "empty"),
    (f"{{{JWT}, {RULE}, rls: {{role: a, claims: |role}}}}", "must be a name with a dot"),
    (f"{{{JWT}, {RULE}, rls: {{role: a, claims: |'a.b; c'}}}}", "must be a name with a dot"),
    (f"{{{JWT}, {RULE}, rls: {{|rolle: a}}}}", "(did you mean 'role'?)"),
]


def test_policies() -> None:
    guard = auth(f"{{{JWT}, {RULE}, rls: {{role: App}}}}").guard
    assert guard is not None
    assert guard.rls == RlsConfig("App", "request.jwt.claims")
    guard = auth(f"{{{JWT}, {RULE}, rls: {{role: App, claims: app.claims}}}}").guard
    assert guard is not None
    assert guard.rls == RlsConfig("App", "app.claims")


@pytest.mark.parametrize(("marked", "message"), BAD)
def test_a_problem_has_its_place_and_remedy(marked: str, message: str) -> None:
    before, _, after = marked.partition("|")
    found = problems(f"{OPEN}auth: {before}{after}")
    assert [(p.line, p.column) for p in found if message in f"{p.path}: {p.message}"] == [
        (2, len(f"auth: {before}") + 1)
    ], found


def test_both_parts_are_needed() -> None:
    (problem,) = problems(f"{OPEN}auth: {{{RULE}}}")
    assert str(problem) == "config.yaml:2:1: auth.jwt: is missing; say how tokens are verified"
    (problem,) = problems(f"{OPEN}auth: {{{JWT}}}")
    assert problem.message == "is missing; nothing is allowed but what a rule here allows"


def test_a_private_key_is_refused() -> None:
    env = ENV | {"P": private_pem("rsa")}
    with pytest.raises(ConfigError, match="is a private key"):
        loads(f"{OPEN}auth: {{jwt: {{public_key: '${{P}}'}}, {RULE}}}", env=env)


def test_values_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://app:from-a-file@db/shop\n")
    (tmp_path / "secret").write_text(SECRET + "\r\n")
    config = loads(
        f"{OPEN}database: ${{file:{tmp_path}/url}}\n"
        f"auth: {{jwt: {{secret: '${{file:{tmp_path}/secret}}'}}, {RULE}}}",
        env={},
    )
    assert config.database == "postgresql://app:from-a-file@db/shop"
    assert config.guard is not None
    assert config.guard.jwt.secret == SECRET
    (tmp_path / "odd").write_bytes(b"\xff")
    (problem,) = problems(f"{OPEN}schema: ${{file:{tmp_path}/odd}}")
    assert problem.message == f"{tmp_path}/odd is not UTF-8 text; name another file"
    assert loads("tables: {t: }\nschema: ${file:-x}", env=ENV).schema == "x"


def test_a_key_that_is_none_has_its_place() -> None:
    env = ENV | {"K": "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"}
    config = loads(f"{OPEN}auth: {{jwt: {{public_key: '${{K}}'}}, {RULE}}}", env=env)
    with pytest.raises(ConfigError) as caught:
        guard(config)
    assert str(caught.value) == (
        "config.yaml:2:26: auth.jwt.public_key: is not a public key in PEM, nor a certificate"
    )


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("bridge.auth")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(BridgeError, match=r"pip install 'rowcast\[auth\]'"):
        guard(auth(f"{{{JWT}, {RULE}}}"))
    assert guard(auth("none")) is None
