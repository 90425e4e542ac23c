"""Options and behaviour that commands share: the config file, and logging."""

from __future__ import annotations

import json
import logging as logs
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bridge.config import Config


def config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=os.environ.get("ROWCAST_CONFIG", "config.yaml"),
        help="the config file (default: $ROWCAST_CONFIG, else ./config.yaml)",
    )


def versions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--versions",
        type=Path,
        metavar="DIR",
        help="reviewed revisions, beside the bridge's own (default: ./rowcast_versions, if there)",
    )


def load(args: argparse.Namespace) -> Config:
    """The config; raises ConfigError with everything that is wrong in it."""
    from bridge import config as module

    return module.load(Path(args.config))


def logging(parser: argparse.ArgumentParser, default: str = "info") -> None:
    parser.add_argument(
        "--log-level",
        default=default,
        choices=("debug", "info", "warning", "error"),
        metavar="LEVEL",
        help="debug, info, warning or error (default: %(default)s)",
    )


def start_logging(args: argparse.Namespace, **always: object) -> None:
    """For people on a terminal, JSON lines elsewhere; each says what is `always` so."""
    from bridge.flood import Flood

    handler = logs.StreamHandler(sys.stderr)
    handler.addFilter(Flood())
    handler.setFormatter(_Human() if sys.stderr.isatty() else _Json())
    handler.addFilter(partial(_with, always))
    logs.basicConfig(level=args.log_level.upper(), handlers=[handler], force=True)
    for chatty in ("websockets", "alembic"):
        logs.getLogger(chatty).setLevel(logs.WARNING)
    logs.getLogger("psycopg.pool").setLevel(logs.ERROR)


def _with(always: Mapping[str, object], record: logs.LogRecord) -> bool:
    vars(record).update(always)
    return True


_STANDARD = frozenset(vars(logs.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extra(record: logs.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(text: str) -> str:
    """What came from outside must not write to the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Human(logs.Formatter):
    def format(self, record: logs.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extra = "".join(f"  {name}={value}" for name, value in _extra(record).items())
        said = _plain(f"{record.getMessage()}{extra}")
        line = f"{clock} {record.levelname.lower():<7} {said}"
        return (
            line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"
        )


class _Json(logs.Formatter):
    def format(self, record: logs.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info is not None:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)
