"""What somebody else's schema holds, followed with the config that `init` writes, unedited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.config import loads
from tests.support.oddities import SCHEMA
from tests.support.rehearsal import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from bridge.config import TableConfig

WATCHED = {
    "Port", "Stock_Room.ferry", "crew", "fare", "ferry", "sailing", "shift", "tariff", "ticket"
}  # fmt: skip


def tables(text: str) -> dict[str, TableConfig]:
    return dict(loads(text, env={"DATABASE_URL": "host=a"}).tables)


def topics(table: TableConfig) -> list[str]:
    return [template.text for template in table.topics or ()]


@pytest.mark.parametrize("seed", range(2))
async def test_every_follower_holds_what_select_returns(
    database: str, admin: psycopg.Connection, tmp_path: Path, seed: int
) -> None:
    admin.execute(SCHEMA)
    report = await rehearse(database, tmp_path, seed=seed, transactions=400)
    assert report.watched == len(WATCHED)
    assert report.tables >= {"public.logbook", "Stock Room.ferry", "public.sailing"}
    assert len(report.tables) == len(WATCHED) + 1  # the one without a key is written to as well
    assert report.too_large == []
    kinds = {kind for _, kind in report.written}
    assert kinds == {"update", "insert", "delete", "move", "rekey", "upsert", "many"}


async def test_the_first_config_needs_no_edit_to_be_right(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(SCHEMA)
    text = (await rehearse(database, tmp_path, seed=9, transactions=1)).config
    found = tables(text)
    assert found.keys() == WATCHED
    assert found["crew"].exclude == ("password",)
    assert found["ferry"].exclude == ("search",)
    assert found["tariff"].key == ("code",)
    assert found["ticket"].refreshes == "sailing"
    assert topics(found["ticket"])[0] == "ticket"
    assert topics(found["sailing"]) == [
        "sailing",
        "sailing/{departs}/{no}",
        "ferry/{ferry_id}/sailing",
        "Port/{origin}/sailing",
        "Port/{destination}/sailing.destination",
    ]
    for left_out in ("public.logbook", "public.Ports", "public.busy"):
        assert left_out in text.partition("# Left out:")[2]
    assert "sailing_old" not in text
