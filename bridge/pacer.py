"""When writers ring, when the bridge looks by itself, and how it goes from one to the other. Pure.

A ring is a NOTIFY, and those commit one after the other. So where many writers ring, one
instance *leads*: it holds an advisory lock, exclusively, and writers whose own try for that
lock fails do not ring. They are *silent*, and whoever follows has to look for what they
write. The rules, from which nothing is missed (docs/how-it-works.md has the argument):

- Who makes writers silent says so before, to all instances: it *announces*, then asks.
  Asking is enough to silence them, so it looks from then on, and not from having the lock.
- Nobody rests, that is, relies on rings, before it has seen that nobody holds the lock or
  asks for it, and that all who were writing at that sight have ended since (they may have
  been silenced), and then has read once more.
- Who announces may die before it asks. So an announcement is believed for `rest` seconds.
- What cannot be known counts as announced: a session that was lost, a follower that came.

Everything else is economy: few rings wake nobody, for a ring is faster than a look; who
leads tells the others what it finds, and these look seldom while they hear of it.

Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class State(Enum):
    RESTING = "resting"  # writers ring
    ASKING = "asking"  # for the lock: writers may be silent from here on
    LEADING = "leading"  # it is held
    STANDING_BY = "standing by"  # others may make writers silent
    LETTING_GO = "letting go"  # the lock was held, and may be
    DRAINING = "draining"  # nobody makes them silent; those who were have not all ended


class Command(Enum):
    """What the one session is to do; each is answered by a `Look`, `ASK` also by `HELD`."""

    ASK = "ask"  # unless another leads or asks: announce, and wait for the lock
    LET_GO = "let go"  # then look
    LOOK = "look"
    TELL = "tell"  # others that something was found; answered by None


class Look(NamedTuple):
    """What was there at one moment: whether another instance holds the lock or waits for it,
    and the transactions that had written to the store and not ended."""

    hidden: bool
    writers: frozenset[str]


class Held(Enum):
    HELD = "held"


HELD = Held.HELD


@dataclass(frozen=True)
class Tempo:
    """Seconds, and counts of rings or of reads that found something."""

    pace: float = 0.02  # from one read to the next
    led: float = 0.1  # the same, while another tells of what it finds
    rest: float = 0.5  # after so long with few finds, it lets go
    few: int = 5
    busy: int = 5  # rings …
    within: float = 0.1  # … in so long make it ask
    check: float = 30.0  # a read while it rests: the belt to the braces


class Pacer:
    """One instance's view; whoever feeds it does at once what it commands, and reads in time."""

    def __init__(self, tempo: Tempo | None = None) -> None:
        self.tempo = tempo or Tempo()
        self.state = State.RESTING
        self.followed = False
        self._rings: deque[float] = deque(maxlen=self.tempo.busy)
        self._finds: deque[float] = deque(maxlen=self.tempo.few)
        self._read = -math.inf  # when the last read began
        self._heard = -math.inf  # when another told of a find
        self._since = -math.inf  # when others were last known to be at work, or we began
        self._look = -math.inf  # when to look next
        self._writers: frozenset[str] = frozenset()
        self._drained = math.inf  # when the last of them was seen to have ended
        self._owed = False  # to tell the others
        self._doing: Command | None = None

    # What happens.

    def follow(self, now: float) -> None:
        """Somebody follows, who may not have been there when another announced."""
        if not self.followed:
            self.followed = True
            if self.state is State.RESTING:
                self._stand_by(now)

    def leave(self) -> None:
        """Nobody does any more, or nothing is known of the store."""
        self.followed = False
        if self.state is State.LEADING:
            self.state = State.LETTING_GO
        elif self.state in (State.STANDING_BY, State.DRAINING):
            self.state = State.RESTING

    def ring(self, now: float) -> None:
        """A writer rang."""
        self._rings.append(now)
        if not self.followed or not self._busy(now):
            return
        if self.state in (State.RESTING, State.DRAINING):
            self._ask(now)
        elif self.state is State.STANDING_BY:
            self._look = min(self._look, now + self.tempo.pace)

    def told(self, now: float, *, asks: bool) -> None:
        """Another instance announced, or told of what it found."""
        self._since = now
        if not asks:
            self._heard = now
        if self.followed and self.state in (State.RESTING, State.DRAINING):
            self._stand_by(now + self.tempo.rest)

    def read(self, began: float, now: float, *, found: bool) -> None:
        """All that had been committed when this read began was seen."""
        self._read = began
        if found:
            self._finds.append(now)
            if self.state in (State.LEADING, State.DRAINING):
                self._owed = True
        if self.state is State.DRAINING and began >= self._drained:
            self.state = State.RESTING
        elif self.state is State.LEADING and self._calm(now):
            self.state = State.LETTING_GO

    def answered(self, answer: Look | Held | None, now: float) -> None:
        """The session did what it was commanded."""
        command, self._doing = self._doing, None
        if command is Command.ASK:
            self._answer_ask(answer, now)
        elif isinstance(answer, Look) and (command is Command.LET_GO or self._watching):
            self._see(answer, now)

    def lost(self, now: float) -> None:
        """The session is gone, and with it the lock, now or some time later."""
        self._doing, self._owed = None, False
        if self.state is not State.RESTING:
            self._since = now
            self._stand_by(now) if self.followed else self._rest()

    # What to do.

    def take(self, now: float) -> Command | None:
        """What the session is to do now, if anything; it must be answered, or the session lost."""
        assert self._doing is None
        if now >= self.due():
            usual = _OF.get(self.state, Command.LOOK)
            self._doing = Command.TELL if self._owed else usual
            self._owed = False
        return self._doing

    def due(self) -> float:
        """When there will be a command; what happens may bring it forward."""
        if self._owed or self.state in _OF:
            return -math.inf
        return self._look if self._watching else math.inf

    def next_read(self, now: float) -> float:
        """When to read without having been rung for."""
        if not self.followed:
            return math.inf
        if self.state is State.RESTING:
            return self._read + self.tempo.check
        led = self.state is State.STANDING_BY and now - self._heard < self.tempo.rest
        return self._read + (self.tempo.led if led else self.tempo.pace)

    # How.

    @property
    def _watching(self) -> bool:
        """Whether it waits for what a look will show."""
        draining = self.state is State.DRAINING and self._drained == math.inf
        return draining or self.state is State.STANDING_BY

    def _busy(self, now: float) -> bool:
        full = len(self._rings) == self.tempo.busy
        return full and now - self._rings[0] <= self.tempo.within

    def _calm(self, now: float) -> bool:
        found = len(self._finds) == self.tempo.few and now - self._finds[0] < self.tempo.rest
        return now - self._since >= self.tempo.rest and not found

    def _answer_ask(self, answer: Look | Held | None, now: float) -> None:
        if answer is HELD:
            self.state = State.LEADING if self.followed else State.LETTING_GO
            self._since = now
        elif isinstance(answer, Look) and (answer.hidden or not self.followed):
            self._see(answer, now)
        # Else the wait was given up, and nobody else has the lock: ask again.

    def _see(self, look: Look, now: float) -> None:
        if not self.followed:
            self._rest()  # the others know that we led, and look by themselves
        elif look.hidden:
            self._stand_by(now + self.tempo.rest)
        elif self.state is State.DRAINING:
            self._drain(self._writers & look.writers, now)
        elif now - self._since < self.tempo.rest:
            self._stand_by(self._since + self.tempo.rest)
        elif self.state is State.STANDING_BY and (self._busy(now) or not self._calm(now)):
            self._ask(now)
        else:
            self._drain(look.writers, now)

    def _ask(self, now: float) -> None:
        self.state, self._since = State.ASKING, now

    def _stand_by(self, look: float) -> None:
        self.state, self._look = State.STANDING_BY, look

    def _drain(self, writers: frozenset[str], now: float) -> None:
        self.state, self._writers = State.DRAINING, writers
        self._drained = math.inf if writers else now
        self._look = now + self.tempo.pace

    def _rest(self) -> None:
        self.state = State.RESTING


_OF = {State.ASKING: Command.ASK, State.LETTING_GO: Command.LET_GO}
