"""From results to what is published: JSON, plots, and the tables between markers in the docs.

The docs are made of the files in bench/results and of nothing else, and a test says whether they
still are: a figure there that nobody measured cannot stay unnoticed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.processes import ROOT
from bench.report import Missing, Result, amount, result, shown
from bench.targets import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report import Table, Verdict

RESULTS = ROOT / "bench" / "results"
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "performance.md"

_PART = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def keep(results: Iterable[Result]) -> None:
    RESULTS.mkdir(exist_ok=True)
    for one in results:
        text = json.dumps(one.json(), indent=1, ensure_ascii=False)
        (RESULTS / f"{one.name}.json").write_text(f"{text}\n", "utf-8")


def kept() -> dict[str, Result]:
    """By name, in the order of the targets."""
    files = [RESULTS / f"{name}.json" for name in NAMES]
    read = [result(json.loads(file.read_text("utf-8"))) for file in files if file.exists()]
    return {one.name: one for one in read}


def render() -> None:
    """Write the plots and the page anew from what is kept."""
    from bench import plots

    found = kept()
    for one in found.values():
        if one.curves:
            plots.draw(one, IMAGES / f"bench-{one.name}.svg")
    PAGE.write_text(page(PAGE.read_text("utf-8"), found), "utf-8")


def page(text: str, found: dict[str, Result]) -> str:
    """The page with each marked part made from its result; `summary` is made from all."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        if name == "summary":
            made = _summary(list(found.values()))
        else:
            made = _section(found[name]) if name in found else "Not measured yet.\n"
        return f"{match[1]}{made}{match[3]}"

    return _PART.sub(part, text)


def _section(found: Result) -> str:
    parts = [_where(found), *map(_table, found.tables), *map(_verdict, found.verdicts)]
    parts += [f"{note[0].upper()}{note[1:]}.\n" for note in found.notes]
    if found.curves:
        parts.append(f"![{found.title}](images/bench-{found.name}.svg)\n")
    return "\n".join(parts)


def _where(found: Result) -> str:
    about = found.about
    given = [f"PostgreSQL {about['postgresql']}"] if "postgresql" in about else []
    given += [f"{about['processors']} processors", f"a load of {about['load']} before"]
    given += ["small sizes, few rounds"] if about["quick"] else []
    return f"`./dev bench {found.name}`; {', '.join(given)}.\n"


def _table(table: Table) -> str:
    lines = [f"| | {' | '.join(table.columns)} |", f"|---{'|---' * len(table.columns)}|"]
    for label, cells in table.rows:
        shown_cells = [shown(cell, table.digits) for cell in cells]
        filling = [""] * (len(table.columns) - len(cells))
        lines.append(f"| {label} | {' | '.join([*shown_cells, *filling])} |")
    return "\n".join(lines) + "\n"


def _verdict(verdict: Verdict) -> str:
    return f"- {'met' if verdict.met else '**not met**'}: {verdict}\n".rstrip("\n") + "\n"


def _summary(results: Sequence[Result]) -> str:
    lines = ["| | what | measured | target | |", "|---|---|---|---|---|"]
    for one in results:
        for verdict in one.verdicts:
            sign = "≥" if verdict.at_least else "≤"
            limit = f"{sign} {amount(verdict.limit)}"
            met = "met" if verdict.met else "**not met**"
            cells = (one.target, verdict.what, amount(verdict.figure), limit, met)
            lines.append(f"| {' | '.join(cells)} |")
    missing = {
        f"{label} ({cell.why})"
        for one in results
        for table in one.tables
        for label, cells in table.rows
        for cell in cells
        if isinstance(cell, Missing)
    }
    said = f"\nNot measured, because missing: {', '.join(sorted(missing))}.\n" if missing else ""
    return "\n".join(lines) + "\n" + said
