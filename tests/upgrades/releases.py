"""Where the frozen releases are, and the config and the application that they were made for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge import config as config_file
from bridge import migrate

if TYPE_CHECKING:
    from bridge.config import Config

PLACE = Path(__file__).parent
APPLICATION, HISTORY = PLACE / "application.sql", PLACE / "history.sql"


def releases() -> list[Path]:
    """What each made, as SQL for psql; the oldest first."""
    return sorted(PLACE.glob("[0-9]*.sql"), key=lambda file: [*map(int, file.stem.split("."))])


def configured(database: str) -> Config:
    text = (PLACE / "config.yaml").read_text(encoding="utf-8")
    text += "server: {port: 0}\n"
    return config_file.loads(text, file="config.yaml", env={"DATABASE_URL": database})


def printed(config: Config) -> str:
    """What a migration would run now, as SQL for psql."""
    return migrate.script(config)
