"""An event loop in a thread of its own, so that it can be blocked while the test goes on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


class Apart:
    """`run` and `entered` work there; `held_up` stops everything there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    async def run(self, work: Coroutine[object, object, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @asynccontextmanager
    async def entered(self, context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        value = await self.run(context.__aenter__())  # type: ignore[arg-type]
        try:
            yield value
        finally:
            await self.run(context.__aexit__(None, None, None))  # type: ignore[arg-type]

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Inside, the loop is in a call that does not return."""
        held, released = threading.Event(), threading.Event()

        def hang() -> None:
            held.set()
            released.wait()

        self._loop.call_soon_threadsafe(hang)
        held.wait()
        try:
            yield
        finally:
            released.set()


@contextmanager
def apart() -> Iterator[Apart]:
    apart = Apart()
    thread = threading.Thread(target=apart._loop.run_forever, daemon=True)
    thread.start()
    try:
        yield apart
    finally:
        apart._loop.call_soon_threadsafe(apart._loop.stop)
        thread.join()
        apart._loop.close()
