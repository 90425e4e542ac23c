"""Durable tables in one bridge: their feed, how far their topics have been told, who resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.audience import NOBODY
from bridge.changes import Snapshot
from bridge.feed import Feed
from bridge.loader import read_ahead
from bridge.resumption import Resumption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bridge.audience import Missed
    from bridge.changelog import About, Changelog
    from bridge.changes import Change, Gap, Mark
    from bridge.cursor import Moment
    from bridge.errors import ProtocolError
    from bridge.flow import Flow
    from bridge.hub import Hub
    from bridge.loader import Loader
    from bridge.metrics import Metrics
    from bridge.pacing import Pacing
    from bridge.parameters import Ahead
    from bridge.routes import Topic
    from bridge.turns import Request

    Answers = Mapping[Topic, Snapshot | ProtocolError]


class Durable:
    """One for a bridge that has any durable table. `take` and `gap` are as for `Feed`."""

    def __init__(
        self,
        hub: Hub,
        flows: Mapping[str, Flow],
        changelog: Changelog,
        loader: Loader,
        metrics: Metrics,
        pacing: Pacing,
        *,
        take: Callable[[list[Change], Mark], None],
        gap: Callable[[str, Mark], None],
        concerns: Callable[[Flow], bool],
    ) -> None:
        self._hub = hub
        self._flows = flows
        self._metrics = metrics
        self._take = take
        self._gap = gap
        self._concerns = concerns
        self._loader = loader
        widths = {flow.table.name: flow.table.width for flow in self._durable()}
        self.pacing = pacing
        self.feed = Feed(
            changelog,
            widths,
            pacing,
            take=self._captured,
            gap=self._gaps,
            followed=self._followed,
            ahead=self._ahead,
            foresee=self._foresee,
        )
        leading = {name: [flow.table.name for flow in self._to(name)] for name in widths}
        self._resumption = Resumption(changelog, loader, widths, leading)

    async def begun(self) -> About:
        """From here on, nothing that is kept is missed. Raises what reading does."""
        about = await self.feed.begun()
        self._hub.identity = about.identity
        return about

    async def resumed(
        self, request: Request, answers: Answers, about: About
    ) -> tuple[Answers, Missed]:
        """A read of topics → the same, and what those have missed who resume."""
        missed = await self._resumption.missed(request, answers, about)
        asked = sum(s.since is not None for a in request.topics.values() for s in a.waiting)
        self._metrics.resumed.inc(len(missed))
        self._metrics.not_resumed.inc(asked - len(missed))
        if self.feed.about is about:
            return answers, missed
        # Of a history that has ended meanwhile: no place to resume from.
        return {topic: _placeless(answer) for topic, answer in answers.items()}, NOBODY

    def told(self, table: str) -> Moment | None:
        """The last moment of which every change to this table's rows was published."""
        marks = [mark for flow in (self._flows[table], *self._to(table)) if (mark := flow.mark())]
        mark = min(marks, default=self.feed.mark)
        return mark[1] if mark else None

    def _to(self, table: str) -> Iterator[Flow]:
        """The flows whose keys lead to this table's by a read."""
        for flow in self._flows.values():
            if flow.relays == table:
                yield flow
                yield from self._to(flow.table.name)

    def _durable(self) -> Iterator[Flow]:
        return (flow for flow in self._flows.values() if flow.table.durable)

    def _followed(self) -> bool:
        return any(map(self._concerns, self._durable()))

    def _captured(self, changes: list[Change], mark: Mark) -> None:
        self._metrics.captured([change.age for change in changes])
        self._take(changes, mark)

    def _ahead(self, named: Sequence[Change]) -> Ahead | None:
        """The rows to be read of those that rings named: of one table, if somebody follows them."""
        flow, routes = self._flows[named[0].table], self._hub.routes
        of_it = [change for change in named if change.table == flow.table.name]
        sought = routes.sought(flow.table.name, of_it)
        keys = dict.fromkeys(c.key for c in of_it if sought is None or c.key in sought)
        if not keys or not flow.table.durable or routes.viewers(flow.table.name) != [None]:
            return None
        return self._loader.ahead(flow.table, list(keys))

    def _foresee(self, ahead: Ahead, rows: str) -> None:
        self._flows[ahead.table].foresee(read_ahead(ahead, rows))

    def _gaps(self, gap: Gap, mark: Mark) -> None:
        for flow in self._durable():
            if gap.table in (None, flow.table.name):
                self._gap(flow.table.name, mark)


def _placeless(answer: Snapshot | ProtocolError) -> Snapshot | ProtocolError:
    return answer._replace(moment=None) if isinstance(answer, Snapshot) else answer
