"""What a run has done and found: for the screen, and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.chaos.faults import FAULTS

if TYPE_CHECKING:
    from tests.chaos.witness import Broken


class Report:
    """Times in seconds, memory in KiB."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.postgresql = ""
        self.tried: dict[str, int] = defaultdict(int)
        self.injected: dict[str, int] = defaultdict(int)
        self.hit: dict[str, int] = defaultdict(int)
        self.times: dict[str, list[float]] = defaultdict(list)
        self.calms: list[tuple[float, list[str]]] = []
        """How long until all was equal, and the faults of the phase before."""
        self.totals: dict[str, float] = defaultdict(float)
        self.kinds: dict[str, int] = defaultdict(int)
        self.memory = 0
        self.rounds = 0
        self.broken: Broken | None = None
        self.writes_about: list[str] = []

    @property
    def faults(self) -> int:
        return sum(self.injected.values())

    def in_vain(self) -> str | None:
        """A fault that was tried often and never hit anything: it is out of date."""
        never = (code for code, tried in self.tried.items() if tried > 9 and not self.hit[code])
        return next(never, None)

    def injected_one(self, code: str, hit: int) -> None:
        self.injected[code] += 1
        self.hit[code] += hit

    def converged(self, code: str, seconds: float) -> None:
        self.times[code].append(seconds)

    def as_json(self) -> dict[str, Any]:
        broken = self.broken
        return {
            "seed": self.seed,
            "postgresql": self.postgresql,
            "result": "broken" if broken else "clean",
            "faults": self.faults,
            "rounds": self.rounds,
            "totals": {name: round(value, 1) for name, value in self.totals.items()},
            "writes": dict(self.kinds),
            "memory_kib": self.memory,
            "calms": self._calms(),
            "by_fault": {code: self._fault(code) for code in FAULTS if self.injected[code]},
            "broken": broken
            and {"what": broken.what, "told": broken.history, "writes": self.writes_about},
        }

    def _fault(self, code: str) -> dict[str, Any]:
        about = {"title": FAULTS[code].title, "count": self.injected[code], "hit": self.hit[code]}
        return {**about, "converged": {"count": len(self.times[code]), **_spread(self.times[code])}}

    def table(self) -> str:
        lines = [
            f"{'':4}  {'fault':44} {'count':>6} {'hit':>6}  {'converged: median':>17} {'max':>6}"
        ]
        lines += [self._line(code) for code in FAULTS if self.injected[code]]
        lines += ["", f"faults {self.faults}, rounds {self.rounds}, seed {self.seed}"]
        rate = self.totals["writes"] / (self.totals["seconds of writing"] or 1)
        totals = {**self.totals, "writes a second": rate, **self.kinds}
        lines.append(", ".join(f"{name} {value:,.0f}" for name, value in totals.items()))
        found = ", ".join(f"{name} {value}" for name, value in self._calms().items())
        lines.append(f"calms, in seconds until all was equal: {found}")
        lines.append(f"memory of an instance, at most: {self.memory / 1024:.0f} MiB")
        return "\n".join(lines)

    def _calms(self) -> dict[str, Any]:
        if not self.calms:
            return {"count": 0}
        times = [seconds for seconds, _ in self.calms]
        _, slowest = max(self.calms)
        before = " ".join(f"{count}x{code}" for code, count in Counter(slowest).most_common())
        return {"count": len(times), **_spread(times), "slowest after": before}

    def _line(self, code: str) -> str:
        times = self.times[code]
        spread = f"{median(times):15.2f} s {max(times):5.1f}s" if times else f"{'-':>17} {'-':>6}"
        counts = f"{self.injected[code]:6} {self.hit[code]:6}"
        return f"{code:4}  {FAULTS[code].title:44} {counts}  {spread}"

    def failure(self) -> str:
        """What was broken, with what was told and written of that key."""
        assert self.broken is not None
        told = [f"  {line}" for line in self.broken.history] or ["  nothing"]
        writes = [f"  {line}" for line in self.writes_about] or ["  nothing"]
        told.insert(0, f"BROKEN: {self.broken.what}\nwhat it was told of that key:")
        writes.insert(0, "the latest committed writes, and to its table (seconds):")
        return "\n".join(told + writes)


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": round(median(times), 3), "max": round(max(times), 3)} if times else {}
