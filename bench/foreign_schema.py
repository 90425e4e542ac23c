"""Any schema, taken through everything a user does: is what subscribers hold what SELECT returns?

    python bench/foreign_schema.py schema.sql data.sql … [--pg 15] [--seed 1] [--transactions 1500]

The files, as pg_dump writes them, go into a new database of a temporary server. Then come
`rowcast init`, `check`, `migrate`, `check` and `serve` without an edit, random writes to
every table while topics of every table are followed, the comparison, and `migrate --remove`,
after which the catalog must be what it was. Prints a report; ends with 1 at the first
difference. `--show` prints the config, which is also worth reading.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect
from tests.support.rehearsal import Report, rehearse

# Scripts that make a database of their own and go there would leave ours empty.
_ELSEWHERE = re.compile(
    r"^\s*(\\c(onnect)?\b|(drop|create) database\b).*$", re.IGNORECASE | re.MULTILINE
)


def main() -> int:
    arguments = _arguments()
    binaries = find_binaries(arguments.pg)
    with Postgres.start(binaries=binaries, settings={"autovacuum": "off"}) as server:
        url = server.url("foreign_schema")
        with connect(server.url()) as connection:
            connection.execute("CREATE DATABASE foreign_schema TEMPLATE template0")
        problems = [line for file in arguments.files for line in load(server, url, file)]
        with tempfile.TemporaryDirectory() as directory:
            rehearsal = rehearse(
                url, Path(directory), seed=arguments.seed, transactions=arguments.transactions
            )
            try:
                report = asyncio.run(rehearsal)
            except AssertionError as error:
                print(f"seed {arguments.seed}: {error}", file=sys.stderr)  # noqa: T201
                return 1
    shown(report, server.version, problems, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.sql")
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transactions", type=int, default=1500)
    parser.add_argument("--show", action="store_true", help="print the config of `rowcast init`")
    return parser.parse_args()


def load(server: Postgres, url: str, file: Path) -> list[str]:
    """Run a file; returns what it could not do, such as owners and extensions that are missing."""
    text = _ELSEWHERE.sub("", file.read_text("utf-8-sig"))
    psql = [str(server.binary("psql")), "-X", "-q", "-d", url]
    done = subprocess.run(psql, input=text, text=True, capture_output=True, check=False)
    return [line for line in done.stderr.splitlines() if "ERROR" in line]


def shown(report: Report, version: str, problems: list[str], arguments: argparse.Namespace) -> None:
    kinds: Counter[str] = Counter()
    for (_, kind), count in report.written.items():
        kinds[kind] += count
    made = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines = [
        f"PostgreSQL {version}, seed {arguments.seed}",
        f"statements of the files that failed: {len(problems)}",
        *problems[:5],
        f"tables watched: {report.watched}, written to: {len(report.tables)}",
        f"tables where no write succeeded: {', '.join(report.unwritten) or 'none'}",
        f"writes committed: {kinds.total()} ({made}), refused: {report.refused.total()}",
        f"topics followed: {report.topics}, holding {report.rows} rows in the end",
        f"topics left out, with more rows than a snapshot may have: {len(report.too_large)}",
        f"changes received: {report.messages}",
        "mismatches: 0; migrate --remove left the catalog as it was",
    ]
    if arguments.show:
        lines = [report.config, *lines, *(f"  {n} × {why}" for why, n in report.refused.items())]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
