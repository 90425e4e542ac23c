"""Which pages may connect: an exact list, and the server's own."""

from __future__ import annotations

import pytest

from bridge.gateways.origins import allowed, is_loopback

APP = ("https://app.example.com",)


@pytest.mark.parametrize(
    ("origin", "fine"),
    [
        (None, True),
        ("https://app.example.com", True),
        ("https://bridge.example.com", True),
        ("http://bridge.example.com", True),
        ("null", False),
        ("", False),
        ("https://app.example.com.evil.com", False),
        ("https://evil-app.example.com", False),
        ("https://app.example.com:8443", False),
        ("http://app.example.com", False),
        ("https://APP.example.com", False),
        ("https://app.example.com/", False),
        ("https://sub.bridge.example.com", False),
        ("https://bridge.example.com:444", False),
        ("ws://bridge.example.com", False),
        ("https://user@bridge.example.com", False),
        ("https://app.example.com.", False),
        ("https://bridge.example.com.", False),
        ("https://app.example.com:443", False),
        ("https://app.example.com@evil.com", False),
        ("https://xn--pp-via.example.com", False),
        ("https://äpp.example.com", False),
        ("https://app.example.com\t", False),
        ("https://app.example.com https://evil.com", False),
        ("HTTPS://app.example.com", False),
        ("file://", False),
        ("chrome-extension://app.example.com", False),
    ],
)
def test_on_a_public_address(origin: str | None, fine: bool) -> None:
    assert allowed(origin, "bridge.example.com", APP, local=False) is fine


@pytest.mark.parametrize(
    ("origin", "host", "fine"),
    [
        ("http://localhost:8765", "localhost:8765", True),
        ("http://127.0.0.1:8765", "127.0.0.1:8765", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("https://app.example.com", "127.0.0.1:8765", True),
        ("http://localhost:3000", "localhost:8765", False),
        # A name of theirs that is made to resolve to us.
        ("http://evil.com:8765", "evil.com:8765", False),
        ("http://localhost.evil.com:8765", "localhost.evil.com:8765", False),
        ("http://[::1", "[::1", False),
        ("http://", "", False),
    ],
)
def test_on_a_loopback_address(origin: str, host: str, fine: bool) -> None:
    assert allowed(origin, host, APP, local=True) is fine


def test_without_a_host_nothing_is_our_own() -> None:
    assert not allowed("http://localhost", None, APP, local=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.0.1", "example.com", "localhost."])
def test_not_only_this_machine(host: str) -> None:
    assert not is_loopback(host)
