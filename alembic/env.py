"""What runs for every `alembic` command, and for `rowcast migrate`, which is the same.

The revisions make the bridge's own objects, unqualified: their schema comes from the
config and stands first on the search path. Triggers come after them, from
`bridge.migrate`. The metadata is empty and no name is included, so that autogenerate
can never propose to drop what is the application's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from alembic import context
from alembic.operations import ops
from alembic.util import CommandError

from bridge import config as config_file
from bridge import history, migrate, schema
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext

    from bridge.config import Config


def find_config() -> Config:
    """`-x config=FILE`, else what `rowcast migrate` passes, else as for every command."""
    if path := context.get_x_argument(as_dictionary=True).get("config"):
        return config_file.load(Path(str(path)))
    if passed := context.config.attributes.get("config"):
        return passed  # type: ignore[no-any-return]
    return config_file.load(Path(os.environ.get("ROWCAST_CONFIG", "config.yaml")))


def tell(line: str) -> None:
    if progress := context.config.attributes.get("progress"):
        progress(line)
    else:
        context.config.print_stdout("%s", line)


def online(config: Config) -> None:
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(config.database, connect_timeout=10),
        poolclass=sa.NullPool,
    )
    with migrate.alone(config, tell):
        heads = migrate.patiently("revisions", lambda: revise(config, engine), tell)
        if command() == "upgrade" and heads == set(context.script.get_heads()):
            migrate.install(config, tell, reviewed=history.reviewed(context.script))
        elif command() == "downgrade" and not heads:
            migrate.uninstall(config, tell)


def revise(config: Config, engine: sa.Engine) -> set[str]:
    """Runs the revisions, in one transaction; returns where the database is then."""
    try:
        with engine.connect() as connection:
            context.configure(connection=connection, on_version_apply=told, **options(config))
            with context.begin_transaction():
                prepare(config, connection.connection.driver_connection.execute)  # type: ignore[union-attr]
                context.run_migrations()
                return set(context.get_context().get_current_heads())
    except sa.exc.DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None  # without SQLAlchemy's page of statement and parameters


def offline(config: Config) -> None:
    """A script for psql; the catalog is read for it all the same."""
    paramstyle = {"paramstyle": "named"}  # any other doubles every % in the script
    context.configure(
        dialect_name="postgresql", dialect_opts=paramstyle, literal_binds=True, **options(config)
    )
    write = context.get_context().impl.static_output
    with context.begin_transaction():
        prepare(config, lambda statement: write(f"{statement};"))
        context.run_migrations()
    destination: Any = context.get_revision_argument()
    there = set(destination if isinstance(destination, tuple | list) else [destination])
    if command() == "upgrade" and there == set(context.script.get_heads()):
        write("" if history.reviewed(context.script) else migrate.install_script(config))
    elif command() == "downgrade" and destination is None:
        write(migrate.uninstall_script(config))


def prepare(config: Config, execute: Any) -> None:
    execute(schema.create(config.schema))
    execute(f'SET LOCAL search_path = "{config.schema}"')


def options(config: Config) -> dict[str, Any]:
    return {
        "target_metadata": sa.MetaData(),
        "version_table_schema": config.schema,
        "include_name": lambda *_: False,
        "process_revision_directives": proposal(config),
    }


def proposal(config: Config) -> Any:
    """For `alembic check` and `revision --autogenerate`: what the triggers lack, as SQL."""

    def propose(
        _: MigrationContext, __: Iterable[str | None], directives: list[MigrationScript]
    ) -> None:
        frozen = migrate.proposed(config)
        context.config.attributes["frozen"] = frozen  # for script.py.mako
        script = [ops.ExecuteSQLOp(text) for text in frozen["upgrade"]]
        directives[0].upgrade_ops = ops.UpgradeOps(ops=script)
        directives[0].downgrade_ops = ops.DowngradeOps(ops=[])
        # `alembic check` looks at the first directive, so only a revision may have none.
        if not script and getattr(context.config.cmd_opts, "autogenerate", False):
            directives.clear()
            tell("nothing to do: no revision written")

    return propose


def told(*, step: Any, **_: Any) -> None:
    verb = "applied" if step.is_upgrade else "took back"
    tell(f"{verb} revision {step.up_revision_id}: {step.up_revision.doc}")


def command() -> str:
    """The name of the Alembic command that runs, as far as it moves a database."""
    return str(context.get_context().opts["fn"].__name__)


def run() -> None:
    config = find_config()
    if context.is_offline_mode():
        offline(config)
    else:
        online(config)


try:
    run()
except BridgeError as error:
    if "config" in context.config.attributes:
        raise
    raise CommandError(str(error)) from None  # which `alembic` shows without a traceback
