"""Alembic's side of a migration: which revisions there are, and which have run.

The bridge's own revisions are numbered with four digits and make its own objects. Any
other is the operator's: reviewed SQL for the triggers, written by `rowcast revision`.
Where there is one, triggers change by revisions alone, and what they leave out is told
rather than mended.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import sql

from bridge import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import StringIO

    from alembic.config import Config as AlembicConfig
    from alembic.script import Script, ScriptDirectory
    from psycopg import Connection

    from bridge.config import Config

Progress: TypeAlias = "Callable[[str], None]"

VERSIONS = Path("rowcast_versions")
"""Where revisions are written and looked for where the package is installed from a wheel."""

_OWN = re.compile(r"[0-9]{4}")


def alembic_config(
    config: Config,
    progress: Progress = lambda _: None,
    output: StringIO | None = None,
    versions: Path | None = None,
) -> AlembicConfig:
    """Alembic's configuration for this config; its scripts are found in checkout and wheel.

    `versions` is a directory with revisions beside the bridge's own.
    """
    from alembic.config import Config as AlembicConfig

    alembic = AlembicConfig(output_buffer=output) if output else AlembicConfig()
    places = [str(scripts() / "versions")]
    beside = versions or VERSIONS
    if beside.is_dir():
        places.append(str(beside.resolve()))
    alembic.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    alembic.set_main_option("version_locations", os.pathsep.join(places).replace("%", "%%"))
    alembic.set_main_option("path_separator", "os")
    alembic.attributes.update(config=config, progress=progress)
    return alembic


def directory(alembic: AlembicConfig) -> ScriptDirectory:
    """The revisions that this configuration finds."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(alembic)


def scripts() -> Path:
    """`migrations` inside an installed package, `alembic` at the top of a checkout."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "alembic"


def installed() -> bool:
    """Whether this is an installed package, whose own directory is not for writing."""
    return scripts().name == "migrations"


def own(revision: Script) -> bool:
    """Whether this revision came with the bridge."""
    return _OWN.fullmatch(revision.revision) is not None


def reviewed(found: ScriptDirectory) -> bool:
    """Whether triggers change by revisions alone."""
    return not all(own(revision) for revision in found.walk_revisions())


def pending(found: ScriptDirectory, current: tuple[str, ...]) -> list[Script]:
    """Revisions that have not run, in the order to run them."""
    upwards: Any = found.iterate_revisions("heads", current or "base")
    return list(reversed(list(upwards)))


def current(config: Config, connection: Connection[Any]) -> tuple[str, ...]:
    """The revisions that the database is at; none before the first migration."""
    table = schema.version_table(config.schema)
    exists = "SELECT to_regclass(%s) IS NOT NULL"
    if connection.execute(exists, (table.as_string(connection),)).fetchone() != (True,):
        return ()
    rows = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchall()
    return tuple(str(row[0]) for row in rows)
