"""`rowcast serve`: the bridge, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bridge.commands import options, workers
from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bridge.config import Config, ServerConfig
    from bridge.pipeline import Bridge

HELP = "serve changes until SIGTERM or SIGINT; SIGHUP reads the config again"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    parser.add_argument("--host", help="instead of the config's server.host")
    parser.add_argument("--port", type=int, help="instead of the config's; 0 takes a free one")
    options.logging(parser)


def run(args: argparse.Namespace) -> int:
    load = partial(_load, args)
    with _here_to_stay():
        import bridge.pipeline  # noqa: F401  here, and so before workers are forked
        from bridge.process import until_signalled

        config = load()
    options.start_logging(args)
    if config.server.workers > 1:
        return workers.serve(args, config.server, load, _bridge, partial(_announce, config.server))
    asyncio.run(until_signalled(_bridge(config), partial(_announce, config.server), load))
    return 0


@contextmanager
def _here_to_stay() -> Iterator[None]:
    """What is made within stays to the end: nobody need look through it for garbage, neither
    while it is made, which is a tenth of the start, nor whenever something else is collected."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _bridge(config: Config) -> Bridge:
    from bridge import spans
    from bridge.pipeline import Bridge

    bridge = Bridge(config)
    if (traced := spans.configured(bridge.instance)) is not None:
        bridge.on_flush.append(traced)
    return bridge


def _load(args: argparse.Namespace) -> Config:
    return _placed(options.load(args), args)


def _placed(config: Config, args: argparse.Namespace) -> Config:
    asked = {"host": args.host, "port": args.port}
    given = {name: value for name, value in asked.items() if value is not None}
    placed = replace(config, server=replace(config.server, **given))
    if placed.exposed:
        raise ConfigError([Problem("--host", placed.exposed)])
    return placed


def _announce(server: ServerConfig, host: str, port: int) -> None:
    scheme = "https" if server.tls else "http"
    address = f"[{host}]" if ":" in host else host
    paths = "WebSocket at /ws, inspector at /" if server.inspector else "WebSocket at /ws"
    print(f"rowcast: serving on {scheme}://{address}:{port}  ({paths})", flush=True)
