"""How often something may happen: token buckets. Pure; times are seconds of one clock."""

from __future__ import annotations

import ipaddress


class Bucket:
    """Takes `rate` a second in the long run, and `burst` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more may happen now."""
        self._left = self.left(now)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def left(self, now: float) -> float:
        return min(self._burst, self._left + (now - self._at) * self._rate)


class Gathering:
    """How long to let things gather before the next look, where they come one by one.

    A look costs more than a thing that it finds. So some `looks` are free, and so many a second
    (`rate`); beyond that each has to wait, unless the one before found `many`.
    """

    __slots__ = ("_due", "_each", "_looks", "_many")

    def __init__(self, rate: float, looks: int, many: int, now: float) -> None:
        self._each = 1 / rate
        self._looks = looks
        self._many = many
        self._due = now  # when all looks so far would have had their time, at that rate

    def pause(self, found: int, now: float) -> float:
        """Seconds until the next look, after one that found so many."""
        if found >= self._many:
            return 0.0
        self._due = max(self._due, now) + self._each
        return max(0.0, self._due - now - self._looks * self._each)


class Arrivals:
    """So many from each address in a second. Remembers an address only while that matters."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._known: dict[str, Bucket] = {}
        self._sweep = 0.0

    def take(self, address: str, now: float) -> bool:
        if now >= self._sweep:
            # Who has not come for a second is as good as new.
            self._sweep = now + 1.0
            self._known = {a: b for a, b in self._known.items() if b.left(now) < self._rate}
        name = origin(address)
        if name not in self._known:
            self._known[name] = Bucket(self._rate, self._rate, now)
        return self._known[name].take(now)

    def __len__(self) -> int:
        return len(self._known)


def origin(address: str) -> str:
    """The address, or the network that one customer of a provider has, for IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
