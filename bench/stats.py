"""Several runs of one thing as one figure: a median, and how far the runs lie apart. Pure."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ENOUGH = 4
"""Runs from which on quartiles say something; of fewer the extremes are shown."""


class Spread(NamedTuple):
    """The median of `runs` runs with their quartiles, or with their extremes if they are few."""

    median: float
    low: float
    high: float
    runs: int


def spread(values: Sequence[float]) -> Spread:
    if not values:
        raise ValueError("no run to sum up")
    if len(values) < ENOUGH:
        return Spread(median(values), min(values), max(values), len(values))
    low, _, high = quantiles(values, n=4)
    return Spread(median(values), low, high, len(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Each run ÷ the run of the same round that it is compared with."""
    return [one / other for one, other in zip(values, base, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-len(ordered) * percent // 100) - 1))]
