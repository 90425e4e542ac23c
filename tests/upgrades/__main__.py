"""Freezes what this version makes in a database, as a release: see docs/releasing.md.

    python -m tests.upgrades

Writes tests/upgrades/VERSION.sql, what `rowcast migrate --sql` prints for an empty database.
Where that is what the last release made as well, nothing is written.
"""

from __future__ import annotations

import sys

from bridge import __version__
from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect
from tests.upgrades.releases import APPLICATION, PLACE, configured, printed, releases


def main() -> int:
    with Postgres.start(binaries=find_binaries()) as server:
        with connect(server.url()) as connection:
            connection.execute(APPLICATION.read_bytes())
        script = printed(configured(server.url()))
    file = PLACE / f"{__version__}.sql"
    earlier = [one for one in releases() if one != file]
    if earlier and earlier[-1].read_text(encoding="utf-8") == script:
        sys.stdout.write(f"the same as {earlier[-1].name}: nothing to freeze\n")
        return 0
    file.write_text(script, encoding="utf-8")
    sys.stdout.write(f"wrote {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
