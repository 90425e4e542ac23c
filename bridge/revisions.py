"""Writes what `rowcast migrate` would do to the triggers as an Alembic revision, to be reviewed.

The file holds SQL as it will run and imports nothing of the bridge, so that no later
version of it means something else. Its downgrade restores what the database has now,
letter by letter: the previous function bodies, and triggers as they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge import history, migrate
from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.script import Script

    from bridge.config import Config


def write(config: Config, message: str, versions: Path | None = None) -> Path | None:
    """The file written, or None where there is nothing to do.

    Raises `CatalogError`, and `DatabaseError` while an earlier such revision has not run:
    what is left to do is not known before it has.
    """
    from alembic import command

    alembic = history.alembic_config(config, versions=versions)
    frozen, waiting = migrate.frozen(config, history.directory(alembic))
    if waiting:
        names = ", ".join(revision.revision for revision in waiting)
        raise DatabaseError(f"{names} has not run; run `rowcast migrate` first")
    if not frozen["upgrade"]:
        return None
    place = _place(versions)
    place.mkdir(parents=True, exist_ok=True)
    alembic = history.alembic_config(config, versions=versions)
    alembic.attributes["frozen"] = frozen
    script = command.revision(alembic, message, head="heads", version_path=str(place.resolve()))
    return _path(script)


def _place(versions: Path | None) -> Path:
    if versions is not None:
        return versions
    return history.VERSIONS if history.installed() else history.scripts() / "versions"


def _path(script: Script | list[Script | None] | None) -> Path:
    written = script[0] if isinstance(script, list) else script
    assert written is not None
    return Path(written.path)
