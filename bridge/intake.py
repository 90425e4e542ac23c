"""Where changes come in, and which of them are kept to be read.

A key goes into its table's coalescer if somebody follows a topic that it may be of, or if it is
dirty already. One that nobody wants ends here: its change was committed before it came, and who
follows it later is registered first and reads second, so that read sees it. Whoever can be told
of a key by no other way than its being read stands in the way of this: topics that a key alone
does not decide, and tables whose rows lead to another table's.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from bridge.trace import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.changes import Change, Mark
    from bridge.flow import Flow
    from bridge.hub import Hub
    from bridge.metrics import Metrics
    from bridge.trace import Trace

_TABLE = attrgetter("table")


class Intake:
    """Of one config that is served; `now` is the clock of its flows. Nothing here waits."""

    def __init__(
        self, hub: Hub, flows: Mapping[str, Flow], metrics: Metrics, now: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._flows = flows
        self._metrics = metrics
        self._now = now

    def take(self, changes: Sequence[Change], mark: Mark | None = None) -> None:
        for table, some in groupby(changes, _TABLE):
            self._take_of(self._flows[table], list(some), mark)

    def _take_of(self, flow: Flow, changes: Sequence[Change], mark: Mark | None) -> None:
        self._metrics.changes[flow.table.name] += len(changes)
        wanted = self._wanted(flow, changes)
        if self._hub.trace is not None:
            self._note(self._hub.trace, flow, changes, wanted)
        if wanted:
            for change in flow.add(wanted, self._now(), mark):
                self.gap(change.table, flow.keys.spilled or mark)

    def _wanted(self, flow: Flow, changes: Sequence[Change]) -> Sequence[Change]:
        """The changes of keys that somebody may follow, or that are to be read anyway."""
        if flow.relays is not None:
            return changes if self.concerns(flow) else ()
        sought = self._hub.routes.sought(flow.table.name, changes)
        if sought is None:
            return changes
        return [change for change in changes if change.key in sought or change.key in flow.keys]

    def _note(
        self, trace: Trace, flow: Flow, changes: Sequence[Change], wanted: Sequence[Change]
    ) -> None:
        followed = self.concerns(flow)
        for change in changes:
            trace.seen(change, followed=followed)
        if followed:
            unwanted = {change.key for change in changes} - {change.key for change in wanted}
            trace.keys(Kind.UNWANTED, flow.table.name, unwanted)

    def gap(self, table: str, mark: Mark | None = None) -> None:
        """Anything of this table may have changed; with a mark, since then."""
        self.missed(table)
        self._flows[table].gap(self._now(), mark)

    def missed(self, table: str | None) -> None:
        """Count a Gap, of one table or of all."""
        self._metrics.gaps.inc()
        if self._hub.trace is not None:
            self._hub.trace.gap(table)

    def concerns(self, flow: Flow) -> bool:
        """Whether anybody follows this table, or one that its rows refresh."""
        if self._hub.routes.follows(flow.table.name):
            return True
        return flow.relays is not None and self.concerns(self._flows[flow.relays])
