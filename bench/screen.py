"""Results on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as Grid
from rich.text import Text

from bench.report import Missing, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.report import Cell, Result, Table, Verdict


def tables(result: Result) -> Iterator[Grid | Text]:
    for number, table in enumerate(result.tables):
        yield _grid(table, f"{result.target} {result.title}" if number == 0 else None)
    yield from map(_verdict, result.verdicts)
    for note in result.notes:
        yield Text(note, style="dim")


def summary(results: Sequence[Result]) -> Text:
    met = [verdict.met for result in results for verdict in result.verdicts]
    return Text(f"{sum(met)} of {len(met)} targets met", style="bold")


def _grid(table: Table, title: str | None) -> Grid:
    grid = Grid("", *table.columns, title=title, title_justify="left")
    for label, cells in table.rows:
        grid.add_row(label, *(_cell(cell, table.digits) for cell in cells))
    return grid


def _cell(cell: Cell, digits: int) -> Text:
    return Text(shown(cell, digits), style="yellow" if isinstance(cell, Missing) else "")


def _verdict(verdict: Verdict) -> Text:
    style, said = ("green", "met     ") if verdict.met else ("red", "not met ")
    return Text(said, style=style) + Text(str(verdict), style="default")
