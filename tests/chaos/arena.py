"""One run: rounds of a fresh schema each, phases of faults, and calms in which all is compared.

In a calm nobody writes, hops or breaks anything; every follower must come to hold what
SELECT returns. How long a fault's effects last is measured without a calm: after it is
over the beacon is raised, and the time taken until every follower has seen that.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL, Identifier

from bridge.demo.postgres import Postgres, find_binaries
from tests.chaos.faults import FAULTS
from tests.chaos.fleet import Fleet
from tests.chaos.followers import Crowd
from tests.chaos.report import Report
from tests.chaos.schema import BEACON, draw
from tests.chaos.witness import Broken
from tests.chaos.workload import Journal, Outage, Writer
from tests.chaos.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.chaos.schema import Row, Schema

QUICK = 2
"""Faults at a time, those apart that take turns."""

_SETTINGS = {"max_connections": "100"}
_RAISE = f"UPDATE {BEACON} SET n = n + 1 WHERE id = 1 RETURNING n"


@dataclass(frozen=True)
class Plan:
    """Times in seconds; `rate` is committed writes a second. After `hits` hits it ends early."""

    seed: int
    seconds: float
    faults: tuple[str, ...]
    instances: int = 3
    sockets: int = 60
    streams: int = 20
    writers: int = 6
    rate: float = 500.0
    round_seconds: float = 60.0
    phase: tuple[float, float] = (4.0, 10.0)
    pause: tuple[float, float] = (0.0, 0.3)
    patience: float = 30.0
    hits: int | None = None
    pg: str | None = None


async def run(plan: Plan, progress: Callable[[str], None] = lambda _line: None) -> Report:
    """Everything; what was broken is in the report."""
    report = Report(plan.seed)
    with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as directory:
        loop = asyncio.get_running_loop()
        start = lambda: Postgres.start(binaries=find_binaries(plan.pg), settings=_SETTINGS)  # noqa: E731
        postgres = await loop.run_in_executor(thread, start)
        report.postgresql = postgres.version
        try:
            end = loop.time() + plan.seconds
            while loop.time() < end and not _enough(plan, report):
                arena = Arena(plan, report, postgres, thread, Path(directory), progress)
                await arena.round(min(end, loop.time() + plan.round_seconds))
                if (code := report.in_vain()) is not None:
                    raise Broken(f"{code} finds nothing to hit; renew it")
        except* Broken as group:
            report.broken = _first(group)
            report.writes_about = arena.journal.about(report.broken.table, report.broken.key)
        finally:
            await loop.run_in_executor(thread, postgres.stop, "immediate")
    return report


def _first(group: BaseExceptionGroup[Broken]) -> Broken:
    first = group.exceptions[0]
    return first if isinstance(first, Broken) else _first(first)


def _enough(plan: Plan, report: Report) -> bool:
    return plan.hits is not None and sum(report.hit.values()) >= plan.hits


class Arena:
    """One round."""

    def __init__(
        self,
        plan: Plan,
        report: Report,
        postgres: Postgres,
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
        self._world = World(postgres, thread, self._name, schema, directory, self._outage)
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
                sockets=self._plan.sockets,
                streams=self._plan.streams,
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
                self._world.url,
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
        while self._loop.time() < end and not _enough(self._plan, self._report):
            await self._phase(self._loop.time() + self._random.uniform(*self._plan.phase))
            await self._calm()

    async def _phase(self, end: float) -> None:
        chosen = [FAULTS[code] for code in self._plan.faults]
        quick = any(not fault.slow for fault in chosen)
        began = self._loop.time()
        self._lately: list[str] = []
        async with asyncio.TaskGroup() as lanes:
            if any(fault.slow for fault in chosen):
                lanes.create_task(self._lane(end, slow=True))
            for _ in range(QUICK if quick else 0):
                lanes.create_task(self._lane(end, slow=False))
        self._report.totals["seconds of writing"] += self._loop.time() - began

    async def _lane(self, end: float, *, slow: bool) -> None:
        """One fault after the other, at least one."""
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
            if self._loop.time() > end or _enough(self._plan, self._report):
                return
            await asyncio.sleep(self._random.uniform(*self._plan.pause))

    async def _inject(self, code: str) -> None:
        """A fault that another one keeps from happening is left out."""
        began = self._loop.time()
        try:
            hit = await FAULTS[code].inject(self._world, self._random)
        except psycopg.errors.SerializationFailure:  # a row changed its partition meanwhile
            return
        except psycopg.Error:
            if self._outage.explains(began):
                return
            raise
        self._report.tried[code] += 1
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
            await self._crowd.equal(await self._truth(), self._plan.patience)
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

    async def _truth(self) -> dict[str, dict[str, Row]]:
        """What every topic must hold now."""
        tables = {table.name: table for table in self._world.schema.tables}
        found = {name: await self._world.execute(table.truth) for name, table in tables.items()}
        rows = {name: [json.loads(text) for (text,) in texts] for name, texts in found.items()}
        (beacon,) = await self._world.execute(f"SELECT n FROM {BEACON}")
        expected = {BEACON: {'{"id": 1}': {"id": 1, "n": beacon[0]}}}
        for name, topic in self._crowd.topics().items():
            if topic.table in tables:
                table = tables[topic.table]
                held = (row for row in rows[topic.table] if topic.admits(row))
                expected[name] = {table.key_of(row): row for row in held}
        return expected

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
