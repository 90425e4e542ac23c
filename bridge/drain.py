"""Which entries of the log are settled: the one order that all instances agree on. Pure.

Numbers are given out before their transactions commit, so a smaller one may become visible
after a larger one, or never. What this does is known as draining the writers:

- Entries that follow each other without a gap are settled as they are seen.
- At a gap, remember the last number seen, *then* ask who holds a writer's lock on the log.
  A number up to that one was given to somebody who took the lock before and keeps it to the
  end: whoever is not among those holders is done. Wait until none of them is left.
- Then read again, in a statement that begins after that: what is missing now was rolled
  back, and everything up to the remembered number is settled.

New writers do not matter, so a busy table never waits for a quiet moment, and neither does
who never touched the log. The order of calls is the proof: `see`, `hold`, `see`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Entry(NamedTuple):
    """A row of the log: of which table, by its public name, and the row's key as JSON text.

    `age` is seconds, for measuring alone.
    """

    seq: int
    source: str
    key: str
    age: float = 0.0


class Proof:
    """Whether everybody who was writing at one moment is done."""

    def __init__(self) -> None:
        self._holders: frozenset[str] | None = None

    @property
    def done(self) -> bool:
        return self._holders is not None and not self._holders

    @property
    def holders(self) -> frozenset[str]:
        return self._holders or frozenset()

    def hold(self, found: Iterable[str]) -> None:
        """Who holds a writer's lock now. The first time defines whom to wait for."""
        now = frozenset(found)
        self._holders = now if self._holders is None else self._holders & now


class Drain:
    """`settled`: every number up to it was handed out by `see`, or will never exist."""

    def __init__(self, settled: int) -> None:
        self.settled = settled
        self.waiting: tuple[Entry, ...] = ()
        """What was seen last and is not settled."""
        self._last = settled
        self._proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """What `hold` has to be called on before the next `see`, if there is a gap."""
        return self._proof

    def see(self, entries: Sequence[Entry], *, complete: bool) -> list[Entry]:
        """All that a new statement reads after `settled`, in order → what is settled now.

        If not `complete`, only the first of them, and more may follow.
        """
        if self._proof is not None and self._proof.done:
            self._pass(entries, complete=complete)
        before = [entry for entry in entries if entry.seq <= self.settled]
        for entry in entries[len(before) :]:
            if entry.seq != self.settled + 1:
                break
            self.settled = entry.seq
            before.append(entry)
        self._remember(entries[len(before) :])
        return before

    def _pass(self, entries: Sequence[Entry], *, complete: bool) -> None:
        """The gaps up to the remembered number are final; a page may end before it."""
        reached = self._last if complete or not entries else min(self._last, entries[-1].seq)
        self.settled = max(self.settled, reached)

    def _remember(self, rest: Sequence[Entry]) -> None:
        self.waiting = tuple(rest)
        if self.settled >= self._last:
            self._proof = None
        if rest and self._proof is None:
            self._last, self._proof = rest[-1].seq, Proof()

    def forget(self) -> None:
        """The session that asked is gone: what it proved counts no more."""
        self._proof = None
        self._last = self.settled
