"""Counters and histograms where things happen too often for more than an addition.

A bridge counts in one thread, so nothing is locked. Prometheus reads the numbers when it asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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


class Histogram:
    """How many values there were up to each bound, which are sorted, and what they add up to."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, how many values are not above it), as Prometheus writes bounds."""
        names = map(floatToGoString, self._bounds)
        return list(zip(names, accumulate(self._counts), strict=True))


class Histograms(Collector):
    """One metric; a histogram for each combination of its labels' values, which must be few."""

    def __init__(
        self,
        name: str,
        what: str,
        bounds: Sequence[float],
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._what = what
        self._bounds = bounds
        self._labels = labels
        self._of: dict[tuple[str, ...], Histogram] = {}
        registry.register(self)

    def of(self, *values: str) -> Histogram:
        """The one of these values of the labels; it is told of from now on."""
        if (found := self._of.get(values)) is None:
            found = self._of[values] = Histogram(self._bounds)
        return found

    def describe(self) -> Iterable[Metric]:
        yield HistogramMetricFamily(self._name, self._what)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._what, labels=self._labels)
        for values, histogram in self._of.items():
            family.add_metric(values, histogram.buckets(), histogram.total)
        yield family
