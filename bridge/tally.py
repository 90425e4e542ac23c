"""Counters where things happen too often for more than an addition.

A bridge counts in one thread, so nothing is locked. Prometheus reads the numbers when it asks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry, Metric


class Tally:
    """How often, or how much."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        self.value += amount


class Tallies(Collector):
    """All of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._read: dict[tuple[str, str, str], Callable[[], Mapping[str, int]]] = {}
        registry.register(self)

    def single(self, name: str, what: str) -> Tally:
        tally = Tally()
        self.read(name, what, lambda: tally.value)
        return tally

    def by(self, label: str, name: str, what: str) -> Counter[str]:
        """One for each value of a label, of which there must be few."""
        counter: Counter[str] = Counter()
        self._read[name, what, label] = lambda: counter
        return counter

    def read(self, name: str, what: str, value: Callable[[], int]) -> None:
        """What somebody else counts, who never counts down."""
        self._read[name, what, ""] = lambda: {"": value()}

    def describe(self) -> Iterator[Metric]:
        for name, what, _ in self._read:
            yield CounterMetricFamily(name, what)

    def collect(self) -> Iterator[Metric]:
        for (name, what, label), read in self._read.items():
            family = CounterMetricFamily(name, what, labels=[label] if label else [])
            for value, count in read().items():
                family.add_metric([value] if label else [], count)
            yield family
