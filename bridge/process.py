"""A bridge as a process: it ends when it is told to, and says why when it was not."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config import Config
    from bridge.pipeline import Bridge


async def until_signalled(
    bridge: Bridge,
    started: Callable[[str, int], None],
    load: Callable[[], Config] | None = None,
    life: int | None = None,
) -> None:
    """Run a bridge until SIGTERM or SIGINT drains it; a second signal ends the process at once.

    At SIGHUP the bridge serves what `load` gives then, if it can. The end of `life`, a pipe,
    is a stop too. Raises the first of the errors that ended it, if it was not asked to end.
    """
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        bridge.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    if load is not None:
        loop.add_signal_handler(signal.SIGHUP, bridge.reload, load)

    def orphaned(life: int) -> None:
        loop.remove_reader(life)
        bridge.stop()

    if life is not None:
        loop.add_reader(life, orphaned, life)
    try:
        await bridge.run(started)
    except* BridgeError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BridgeError]) -> BridgeError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BridgeError)
    return error
