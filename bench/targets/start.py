"""P11. Cold start: from starting `rowcast serve` on ten tables until it says that it is ready."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Result, Table, Verdict, row
from bench.stats import spread
from bench.world import fresh, postgres, serving
from bridge import config, migrate

if TYPE_CHECKING:
    from bench.run import Run

TARGET = "P11"
TITLE = "Cold start"

TABLES = 10

_TABLE = "CREATE TABLE t{n} (id int PRIMARY KEY, customer int, note text);"


def measure(run: Run) -> Result:
    seconds = []
    with postgres(run.pg) as server, tempfile.TemporaryDirectory(prefix="bench-") as directory:
        url = fresh(server, "start", "".join(_TABLE.format(n=n) for n in range(TABLES)))
        path = Path(directory, "config.yaml")
        tables = "".join(f"  t{n}: {{}}\n" for n in range(TABLES))
        path.write_text(f"database: {url}\ntables:\n{tables}")
        migrate.apply(config.load(path), progress=lambda _: None)
        for _ in run.turns(["starting"], 10, 5):
            begun = time.perf_counter()
            with serving(str(path)):
                seconds.append(time.perf_counter() - begun)
    return Result(
        "start",
        TARGET,
        TITLE,
        (Table(("seconds until ready",), (row(f"Rowcast, {TABLES} tables", seconds),)),),
        (Verdict("seconds until ready", spread(seconds).median, 1.0),),
        about={"postgresql": server.version},
    )
