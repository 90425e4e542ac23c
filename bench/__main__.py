"""`./dev bench`: measure, show, and keep.

`--publish` measures everything and writes bench/results/*.json, docs/images/bench-*.svg and the
tables of docs/performance.md; it takes about fifteen minutes, and wants a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import processes, screen
from bench.run import Run
from bench.targets import NAMES

if TYPE_CHECKING:
    from bench.report import Result

console = Console()


def main() -> int:
    arguments = _arguments()
    if arguments.render:
        return _render()
    results, failed = [], []
    for name in arguments.names or NAMES:
        try:
            results.append(measured(name, arguments))
        except Exception:  # whatever it is, the others are measured
            failed.append(name)
            console.print_exception(max_frames=4)
    if arguments.json:
        text = json.dumps([result.json() for result in results], indent=1, ensure_ascii=False)
        arguments.json.write_text(f"{text}\n", "utf-8")
    if arguments.publish:
        from bench import publish

        publish.keep(results)
        publish.render()
    console.print(screen.summary(results))
    if failed:
        console.print(f"failed, and kept as they were: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def measured(name: str, arguments: argparse.Namespace) -> Result:
    """One target, with its table and its verdicts on the screen."""
    target = import_module(f"bench.targets.{name}")
    about = processes.machine()
    begun = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{target.TARGET} {name}")
        run = Run(
            arguments.pg,
            arguments.quick,
            arguments.rounds,
            tuple(arguments.peer),
            lambda text: progress.update(task, description=f"{target.TARGET} {name}: {text}"),
        )
        result: Result = target.measure(run)
    about |= {"seconds": round(time.monotonic() - begun), "quick": arguments.quick}
    result.about.update(about)
    for renderable in screen.tables(result):
        console.print(renderable)
    return result


def _render() -> int:
    from bench import publish

    publish.render()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=(__doc__ or "").strip())
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=str(NAMES))
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    parser.add_argument("--rounds", type=int, help="instead of each target's own number")
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there")
    parser.add_argument(
        "--peer", type=Path, action="append", default=[], metavar="FILE",
        help="a server of your own to compare with; bench/peers/__init__.py says how",
    )  # fmt: skip
    parser.add_argument("--publish", action="store_true", help="and renew docs/performance.md")
    parser.add_argument("--render", action="store_true", help="only that, from bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
