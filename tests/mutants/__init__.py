"""The ways in which a bridge of this kind is usually wrong, and the test that finds each out.

A mutant is a small edit of the bridge. `./dev mutants` makes each in a copy of the tree and
runs the tests it names there: they must fail. One that survives is a missing test. Before
that they must pass on a copy without any edit, or a failure would prove nothing.
"""

from __future__ import annotations

from typing import NamedTuple

_CHAOS = "tests/acceptance/test_convergence.py::test_a_hundred_killed_listeners"
_LOGS = "tests/acceptance/test_logs.py::test_every_committed_row_comes_once_and_in_one_order"
_PACER = "tests/unit/test_pacer.py::test_no_walk_misses_a_change"
_COLD = "tests/acceptance/test_cold_keys.py::test_none_is_missed"
_GAP = "tests/integration/test_listener.py::test_changes_follow_the_gap"

# What is settled goes beyond a gap only if that is proven.
_PROVEN = "        if self._proof is not None and self._proof.done:\n"
_PASSED = "            self.settled = entries[-1].seq\n        if False:\n"


class Edit(NamedTuple):
    """In `path`, `old` occurs once and becomes `new`."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    """`awaits`, if it cannot be made yet, is what it is a mutant of."""

    name: str
    edits: tuple[Edit, ...]
    test: str = ""
    awaits: str = ""


MUTANTS = (
    Mutant(
        "no resync after LISTEN was lost",
        (
            Edit(
                "bridge/hub.py",
                "        self.live = True\n        self.gap(None)\n",
                "        self.live = True\n        self.on_request()\n",
            ),
        ),
        _CHAOS,
    ),
    Mutant(
        "resync before LISTEN",
        (
            Edit(
                "bridge/listener.py",
                "                async with self._listening() as session:\n"
                "                    yield self._began()\n",
                "                yield self._began()\n"
                "                async with self._listening() as session:\n",
            ),
        ),
        _GAP,
    ),
    Mutant(
        "no version is compared",
        (
            Edit(
                "bridge/ledger.py",
                'if version < max(self._floor, before.version if before is not None else ""):',
                "if False:",
            ),
            Edit(
                "bridge/subscription.py",
                "if self.postponed or (self.floor is not None and message.version < self.floor):",
                "if self.postponed:",
            ),
            Edit(
                "bridge/audience.py",
                "if s.floor is not None and s.floor <= oldest]",
                "if s.floor is not None]",
            ),
            Edit(
                "bridge/subscription.py",
                "for key, message in newer if message.version > version}",
                "for key, message in newer}",
            ),
            Edit(
                "bridge/client/replica.py",
                "if self._floor is None or change.version < self._versions.get(key, self._floor):",
                "if self._floor is None:",
            ),
        ),
        _CHAOS,
    ),
    Mutant(
        "snapshot before registering",
        (
            Edit(
                "bridge/audience.py",
                "    waiting = [s for s in asked.waiting if s.request is request]\n",
                "    waiting = [s for s in topic.subscriptions if s.floor is None]\n"
                "    topic.waiting.clear()\n"
                "    topic.route.wanted.pop(topic, None)\n",
            ),
            Edit(
                "bridge/audience.py",
                "others = [s for s in topic.subscriptions if s.request is not request]",
                "others = [s for s in topic.subscriptions if s.floor is not None]",
            ),
        ),
        _COLD,
    ),
    Mutant(
        "id > last in log tables",
        (Edit("bridge/drain.py", _PROVEN, "        if entries:\n" + _PASSED),),
        _LOGS,
    ),
    Mutant(
        "horizon by id in log tables",
        (
            Edit("bridge/drain.py", _PROVEN, "        if entries:\n" + _PASSED),
            Edit(
                "bridge/log_statements.py",
                "FROM {log} WHERE seq > $1 AND seq <= $2{only}",
                "FROM {log} WHERE xid < pg_snapshot_xmin(pg_current_snapshot())"
                " AND seq > $1 AND seq <= $2{only}",
            ),
        ),
        _LOGS,
    ),
    Mutant(
        "doorbell without the rule for sleeping",
        (
            Edit(
                "bridge/pacer.py",
                "            self._drain(look.writers, now)\n",
                "            self._drain(frozenset(), now)\n",
            ),
        ),
        _PACER,
    ),
)
