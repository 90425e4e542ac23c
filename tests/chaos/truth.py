"""What PostgreSQL itself says that every follower must hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.chaos.schema import BEACON, ENTRIES

if TYPE_CHECKING:
    from tests.chaos.followers import Crowd, Truth
    from tests.chaos.world import World

_ENTRIES = f"SELECT to_jsonb(r)::text FROM {ENTRIES} r"


async def truth(world: World, crowd: Crowd) -> Truth:
    """What every topic must hold now, and every log topic must have told."""
    tables = {table.name: table for table in world.schema.tables}
    queries = {name: table.truth for name, table in tables.items()} | {ENTRIES: _ENTRIES}
    found = {name: await world.execute(query) for name, query in queries.items()}
    rows = {name: [json.loads(text) for (text,) in texts] for name, texts in found.items()}
    (beacon,) = await world.execute(f"SELECT n FROM {BEACON}")
    expected = {BEACON: {'{"id": 1}': {"id": 1, "n": beacon[0]}}}
    for name, topic in crowd.topics().items():
        if topic.table in tables:
            held = (row for row in rows[topic.table] if topic.admits(row))
            expected[name] = {tables[topic.table].key_of(row): row for row in held}
    events = {
        name: {row["id"]: row for row in rows[ENTRIES] if topic.admits(row)}
        for name, topic in crowd.logs().items()
    }
    return expected, events
