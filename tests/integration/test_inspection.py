"""What `rowcast check` finds in the shape of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge import migrate
from bridge.inspection import inspect
from tests.support.capture import config, entry

if TYPE_CHECKING:
    from psycopg import Connection

PARTS = """
CREATE TABLE ports (id int PRIMARY KEY);
CREATE TABLE sailings (id int PRIMARY KEY, port int) PARTITION BY RANGE (id);
CREATE TABLE early PARTITION OF sailings FOR VALUES FROM (0) TO (100);
ALTER TABLE early ADD FOREIGN KEY (port) REFERENCES ports ON DELETE SET NULL;
"""


@pytest.mark.parametrize("trigger", ["statement", "row"])
def test_a_partition_that_a_foreign_key_writes_to(
    connection: Connection, database: str, trigger: str
) -> None:
    connection.execute(PARTS)
    settings = config(entry("sailings", trigger=trigger), database=database)
    migrate.apply(settings, progress=lambda _line: None)
    found = list(inspect(settings))
    assert len(found) == (trigger == "statement")
    for finding in found:
        assert finding.about == "sailings"
        assert "foreign key on port" in finding.message
        assert finding.grave
