"""`rowcast init`: a first config, written from what the database has."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import BridgeError

if TYPE_CHECKING:
    import argparse

HELP = "write a commented config from the tables that a database has"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("DATABASE_URL"),
        help="the database to read (default: $DATABASE_URL)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="config.yaml",
        help="where to write; - prints (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace) -> int:
    if not args.database:
        raise BridgeError("no database: set DATABASE_URL, or give --database URL")
    text = _draft(args.database)
    if args.output == "-":
        sys.stdout.write(text)
        return 0
    _write(Path(args.output), text, force=args.force)
    print(f"rowcast: wrote {args.output}", file=sys.stderr)
    if "DATABASE_URL" not in os.environ:
        print("rowcast: it reads $DATABASE_URL, which is not set here", file=sys.stderr)
    return 0


def _draft(url: str) -> str:
    import psycopg

    from bridge import catalog, inventory
    from bridge.draft import draft

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            ours = inventory.schemas(connection)
            relations = [
                one
                for one in catalog.relations(connection)
                if one.schema not in ours and one.name not in _BOOKKEEPING
            ]
            sizes = catalog.sizes(connection, [relation.oid for relation in relations])
            views = catalog.relations(connection, "vmf")
            return draft(connection.info.dbname, relations, sizes, views=views)
    except psycopg.Error as error:
        raise BridgeError(f"cannot read the catalog: {str(error).strip()}") from None


# Bookkeeping of migration tools, which no frontend wants to follow.
_BOOKKEEPING = frozenset(
    {"alembic_version", "django_migrations", "schema_migrations", "ar_internal_metadata",
     "_prisma_migrations", "flyway_schema_history", "knex_migrations", "knex_migrations_lock"}
)  # fmt: skip


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BridgeError(f"{path} exists; --force replaces it, -o - prints instead") from None
    except OSError as error:
        raise BridgeError(f"cannot write {path}: {error.strerror}") from None
