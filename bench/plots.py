"""Curves of a result as an SVG that two runs with equal figures write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "rowcast"
mpl.rcParams["font.size"] = 9

import matplotlib.pyplot as plt  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Result


def draw(result: Result, path: Path) -> None:
    """Medians, with bars from the lower to the upper quartile; x logarithmic."""
    figure, axes = plt.subplots(figsize=(5.2, 2.8), layout="constrained")
    for curve in result.curves:
        xs = [x for x, _ in curve.points]
        middles = [spread.median for _, spread in curve.points]
        below = [spread.median - spread.low for _, spread in curve.points]
        above = [spread.high - spread.median for _, spread in curve.points]
        axes.errorbar(xs, middles, (below, above), marker="o", capsize=3, label=curve.name)
    axes.set_xscale("log")
    axes.set_xticks(xs, [f"{x:,.0f}" for x in xs])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(result.axes[0])
    axes.set_ylabel(result.axes[1])
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
