"""Fixtures of tests that run the command.

rowcast      in a directory of this test's own, with the module's CONFIG; its TABLES are there,
             and what that config asks for is installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.commands import Rowcast

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg


@pytest.fixture
async def rowcast(
    request: pytest.FixtureRequest, database: str, admin: psycopg.Connection, tmp_path: Path
) -> Rowcast:
    admin.execute(request.module.TABLES)
    (tmp_path / "config.yaml").write_text(request.module.CONFIG)
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    return rowcast
