"""What a target's run found, in the one shape that the screen, JSON, plots and docs are made of.

A cell is a `Spread`, a text, or `Missing` with the reason: what was not measured is said, never
left out. A verdict compares one figure with the target's limit, and nothing else decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from bench.stats import Spread, spread


@dataclass(frozen=True)
class Missing:
    """A peer that is not here, and what would bring it."""

    why: str


Cell: TypeAlias = Spread | str | Missing


@dataclass(frozen=True)
class Table:
    """`unit` is that of all spreads; `digits` after the point."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    unit: str = ""
    digits: int = 2


@dataclass(frozen=True)
class Verdict:
    """`figure` against `limit`, which it must not pass: upwards, or downwards if `at_least`."""

    what: str
    figure: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        unit = self.unit and f" {self.unit}"
        return f"{self.what}: {amount(self.figure)}{unit} (target {sign} {amount(self.limit)})"


@dataclass(frozen=True)
class Curve:
    """Points of one line in the plot: x, and the spread of y."""

    name: str
    points: tuple[tuple[float, Spread], ...]


@dataclass(frozen=True)
class Result:
    """Of one target. `notes` say what a reader has to know to read the table."""

    name: str
    target: str
    title: str
    tables: tuple[Table, ...]
    verdicts: tuple[Verdict, ...]
    curves: tuple[Curve, ...] = ()
    axes: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        verdicts = [{**asdict(one), "met": one.met} for one in self.verdicts]
        return {**asdict(self), "verdicts": verdicts}


def row(label: str, *cells: Cell | list[float]) -> tuple[str, tuple[Cell, ...]]:
    """A table's row; a list is the runs of one figure."""
    return label, tuple(spread(cell) if isinstance(cell, list) else cell for cell in cells)


def result(read: dict[str, Any]) -> Result:
    """The inverse of `Result.json`, as far as JSON keeps types apart."""
    verdicts = tuple(
        Verdict(**{name: value for name, value in one.items() if name != "met"})
        for one in read["verdicts"]
    )
    curves = tuple(
        Curve(one["name"], tuple((x, Spread(*y)) for x, y in one["points"]))
        for one in read["curves"]
    )
    given = {"tables": tuple(map(_table, read["tables"])), "verdicts": verdicts, "curves": curves}
    plain = {name: tuple(read[name]) for name in ("axes", "notes")}
    return Result(**{**read, **given, **plain})


def _table(read: dict[str, Any]) -> Table:
    rows = tuple((label, tuple(map(_cell, cells))) for label, cells in read["rows"])
    return Table(tuple(read["columns"]), rows, read["unit"], read["digits"])


def _cell(read: Any) -> Cell:
    if isinstance(read, dict):
        return Missing(**read)
    return read if isinstance(read, str) else Spread(*read)


def shown(cell: Cell, digits: int) -> str:
    """A cell as text: `1.02 (0.98–1.10)`."""
    if isinstance(cell, Missing):
        return f"missing: {cell.why}"
    if isinstance(cell, str):
        return cell
    middle, low, high = (f"{value:,.{digits}f}" for value in cell[:3])
    return middle if low == high else f"{middle} ({low}–{high})"


def amount(value: float) -> str:
    """A figure with as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
