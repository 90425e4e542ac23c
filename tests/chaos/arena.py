"""One run: rounds of a fresh schema each, phases of faults, and calms in which all is compared.

In a calm nobody writes, hops or breaks anything; every follower must come to hold what
SELECT returns. How long a fault's effects last is measured without a calm: after it is
over the beacon is raised, and the time taken until every follower has seen that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL, Identifier

from bridge.demo.postgres import find_binaries
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.fleet import Fleet
from tests.chaos.followers import Crowd
from tests.chaos.history import Shared
from tests.chaos.journal import Journal, Outage
from tests.chaos.report import Report
from tests.chaos.schema import BEACON, draw
from tests.chaos.truth import truth
from tests.chaos.witness import Broken
from tests.chaos.workload import Writer
from tests.chaos.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.chaos.plan import Plan
    from tests.chaos.schema import Schema

QUICK = 4
"""Faults at a time, those apart that take turns."""

_RAISE = f"UPDATE {BEACON} SET n = n + 1 WHERE id = 1 RETURNING n"


async def run(plan: Plan, progress: Callable[[str], None] = lambda _line: None) -> Report:
    """Everything; what was broken is in the report."""
    report = Report(plan.seed)
    with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as directory:
        loop = asyncio.get_running_loop()
        cluster = await loop.run_in_executor(thread, Cluster, find_binaries(plan.pg))
        report.postgresql = cluster.primary.version
        try:
            end = loop.time() + plan.seconds
            while loop.time() < end and not _enough(plan, report):
                arena = Arena(plan, report, cluster, thread, Path(directory), progress)
                await arena.round(end)
                if (code := report.in_vain()) is not None:
                    raise Broken(f"{code} finds nothing to hit; renew it")
        except* Broken as group:
            report.broken = _first(group)
            report.writes_about = arena.journal.about(report.broken.table, report.broken.key)
        finally:
            await loop.run_in_executor(thread, cluster.stop)
    return report


def _first(group: BaseExceptionGroup[Broken]) -> Broken:
    first = group.exceptions[0]
    return first if isinstance(first, Broken) else _first(first)


def _enough(plan: Plan, report: Report) -> bool:
    return plan.hits is not None and sum(report.hit.values()) >= plan.hits


_CROSSED = psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected
"""A row changed its partition meanwhile, or a writer took the same rows in another order."""


class Arena:
    """One round."""

    def __init__(
        self,
        plan: Plan,
        report: Report,
        cluster: Cluster,
        thread: ThreadPoolExecutor,
        directory: Path,
        progress: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._report = report
        self._progress = progress
        self._random = Random(f"{plan.seed} {report.rounds}")
        # Every other round may go where triggers do not see, and only `reconcile` helps; in
        # the others it is off, lest it repairs what nothing else would.
        self._blind = report.rounds % 2 == 1 or all(FAULTS[code].blind for code in plan.faults)
        report.rounds += 1
        self._name = f"chaos_{report.rounds}"
        directory = directory / self._name
        directory.mkdir()
        schema: Schema = draw(self._random, blind=self._blind)
        self._outage = Outage()
        self.journal = Journal()
        self._shared = Shared()
        database = cluster, thread, self._name
        self._world = World(*database, schema, directory, self._outage, self._shared.histories)
        self._held: list[Writer] = []
        self._pending: deque[tuple[int, str, float]] = deque()

    async def round(self, end: float) -> None:
        """Raises Broken, in a group."""
        self._loop = asyncio.get_running_loop()
        await self._prepare()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._account)
            fleet = Fleet(
                self._world.directory, self._world.url, self._plan.instances, self._random
            )
            self._world.fleet = await stack.enter_async_context(fleet)
            self._crowd = Crowd(
                fleet.address,
                self._world.schema,
                self._random,
                self._shared,
                sockets=self._plan.sockets,
                streams=self._plan.streams,
                readers=self._plan.readers,
            )
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._crowd.run()), tasks.create_task(self._watch())]
                async with self._writing() as self._writers:
                    await self._play(end)
                for task in others:
                    task.cancel()

    async def _prepare(self) -> None:
        url = self._world.postgres.url()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
            await session.execute(SQL("CREATE DATABASE {}").format(Identifier(self._name)))
        async with self._world.session() as session:
            await session.execute(self._world.schema.ddl)
        (self._world.directory / "config.yaml").write_text(self._world.schema.config)
        await self._world.migrate()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[list[Writer]]:
        rate = self._plan.rate / self._plan.writers
        writers = [
            Writer(
                lambda: self._world.url,
                self._world.schema,
                f"{self._name} {self._plan.seed} {n}",
                rate,
                self.journal,
                self._outage,
            )
            for n in range(self._plan.writers)
        ]
        for writer in writers:
            writer.start()
        try:
            yield writers
        finally:
            for writer in writers:
                writer.stop()
            self._release()
            for writer in writers:
                await asyncio.to_thread(writer.join)

    async def _play(self, end: float) -> None:
        # Who hops before it has seen everything once may never see it on a slow machine.
        await self._crowd.complete(self._plan.patience)
        self._crowd.move()
        end = min(end, self._loop.time() + self._plan.round_seconds)
        while True:  # once at least, however long it took to get here
            await self._phase(self._loop.time() + self._random.uniform(*self._plan.phase))
            await self._calm()
            if self._loop.time() > end or _enough(self._plan, self._report):
                return

    async def _phase(self, end: float) -> None:
        chosen = [FAULTS[code] for code in self._plan.faults]
        quick = any(not fault.slow for fault in chosen)
        began = self._loop.time()
        self._lately: list[str] = []
        lasting: asyncio.Task[None] | None = None

        def over(*, slow: bool = False) -> bool:
            going_on = not slow and lasting is not None and not lasting.done()
            return _enough(self._plan, self._report) or (self._loop.time() > end and not going_on)

        async with asyncio.TaskGroup() as lanes:
            if any(fault.slow for fault in chosen):
                lasting = lanes.create_task(self._lane(partial(over, slow=True), slow=True))
            for _ in range(QUICK if quick else 0):
                lanes.create_task(self._lane(over, slow=False))
        self._report.totals["seconds of writing"] += self._loop.time() - began

    async def _lane(self, over: Callable[[], bool], *, slow: bool) -> None:
        """One fault after the other, at least one; quick ones for as long as a slow one lasts."""
        codes = [
            code
            for code in self._plan.faults
            if FAULTS[code].slow is slow and (self._blind or not FAULTS[code].blind)
        ]
        weights = [FAULTS[code].weight for code in codes]
        while codes:
            code = self._random.choices(codes, weights)[0]
            await self._inject(code)
            self._tell()
            if over():
                return
            await asyncio.sleep(self._random.uniform(*self._plan.pause))

    async def _inject(self, code: str) -> None:
        """A fault that another one keeps from happening is left out."""
        began, histories = self._loop.time(), len(self._shared.histories)
        try:
            hit = await FAULTS[code].inject(self._world, self._random)
        except _CROSSED:
            return
        except psycopg.Error:
            if self._outage.explains(began):
                return
            raise
        self._report.tried[code] += 1
        if len(self._shared.histories) > histories:  # how high the beacon was is lost, too
            self._pending.clear()
        if hit:
            self._report.injected_one(code, hit)
            self._lately.append(code)
            if not FAULTS[code].blind:
                over = self._loop.time()
                (found,) = await self._world.execute(_RAISE)
                self._pending.append((found[0], code, over))

    async def _watch(self) -> None:
        """Take the time at which all have seen how high the beacon was after each fault."""
        while True:
            self._crowd.news.clear()
            await self._crowd.news.wait()
            seen = self._crowd.beacon
            for mark in [mark for mark in self._pending if mark[0] <= seen]:
                self._report.converged(mark[1], self._loop.time() - mark[2])
                self._pending.remove(mark)

    async def _calm(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 0.3))
        self._crowd.stay()
        await self._hold()
        began = self._loop.time()
        if failures := [failure for writer in self._writers for failure in writer.failures]:
            raise Broken(f"an application's write failed: {failures[0]}")
        try:
            await self._crowd.equal(await truth(self._world, self._crowd), self._plan.patience)
        except Broken as broken:
            for instance in self._world.fleet.instances:
                broken.history.append(f"{instance.name}: {await instance.autopsy()}")
            raise
        self._report.calms.append((self._loop.time() - began, self._lately))
        await self._examine()
        self._release()
        self._crowd.move()

    async def _hold(self) -> None:
        """No writer is in a transaction, and none begins one, until `_release`."""
        for writer in self._writers:
            await asyncio.to_thread(writer.gate.acquire)
            self._held.append(writer)

    def _release(self) -> None:
        while self._held:
            self._held.pop().gate.release()

    async def _examine(self) -> None:
        for instance in self._world.fleet.instances:
            instance.examine()
            self._report.memory = max(self._report.memory, instance.memory)
        ((usage,),) = await self._world.execute("SELECT pg_notification_queue_usage()")
        if usage > 0.01:
            raise Broken(f"the NOTIFY queue is full to {usage:.1%}")

    async def _account(self) -> None:
        if hasattr(self, "_crowd"):
            self._report.totals["messages"] += self._crowd.messages
            self._report.totals["events"] += self._crowd.events
            self._report.totals["hops"] += self._crowd.hops
            self._report.totals["resumed"] += self._crowd.resumed
        self._report.totals["writes"] += self.journal.writes
        for kind, count in self.journal.kinds.items():
            self._report.kinds[kind] += count

    def _tell(self) -> None:
        self._progress(
            f"round {self._report.rounds}: {self._report.faults} faults,"
            f" {len(self._report.calms)} calms, {self.journal.writes} writes,"
            f" {self._crowd.messages} messages"
        )
