"""A model of writers, PostgreSQL and instances that sleep, lead and die: no change stays unseen.

The model has what matters and nothing else. A transaction writes, and with each write tries
for the lock: it rings when it ends if it got it, and is silent if not. A savepoint that is
rolled back to takes its writes, its rings and its locks with it. Notifications reach each
instance some time later, in order. A statement of an instance is one step. What an
instance's session has asked for survives it, until the server notices.

Isolation levels are not in it: a lock, unlike a row, is the same for all of them. The stress
run has them (`python -m tests.pacing`).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from bridge.pacer import HELD, Command, Look, Pacer, State, Tempo

PACE = 0.02

# No belt, and rings that wake at once or never: what is missed stays missed.
EAGER = Tempo(pace=PACE, rest=0.1, led=0.05, few=1, busy=1, within=1.0, check=math.inf)
USUAL = Tempo(pace=PACE, rest=0.1, led=0.05, few=2, busy=2, within=0.3, check=math.inf)


@dataclass
class Level:
    """What a savepoint would take back."""

    writes: list[int] = field(default_factory=list)
    rings: bool = False
    locked: bool = False


@dataclass(eq=False)
class Transaction:
    name: str
    levels: list[Level] = field(default_factory=lambda: [Level()])

    @property
    def writes(self) -> bool:
        return any(level.writes for level in self.levels)

    @property
    def locked(self) -> bool:
        return any(level.locked for level in self.levels)


class Database:
    def __init__(self) -> None:
        self.running: list[Transaction] = []
        self.committed: set[int] = set()
        self.waiting: list[object] = []  # sessions that want the lock, in order
        self.holder: object | None = None
        self.listeners: list[Instance] = []
        self.number = count()

    def write(self, transaction: Transaction) -> None:
        transaction.levels[-1].writes.append(next(self.number))
        if transaction.locked or (self.holder is None and not self.waiting):
            transaction.levels[-1].locked = transaction.levels[-1].rings = True

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        self.running.remove(transaction)
        if commit:
            self.committed |= {n for level in transaction.levels for n in level.writes}
            if any(level.rings for level in transaction.levels):
                self.notify(None, asks=False)
        self.grant()

    def notify(self, by: Instance | None, *, asks: bool) -> None:
        for listener in self.listeners:
            listener.inbox.append((by, asks))

    def grant(self) -> None:
        if self.holder is None and self.waiting and not any(t.locked for t in self.running):
            self.holder = self.waiting.pop(0)

    def release(self, session: object) -> None:
        self.waiting = [other for other in self.waiting if other is not session]
        if self.holder is session:
            self.holder = None
        self.grant()

    def look(self, session: object) -> Look:
        hidden = any(s is not session for s in (self.holder, *self.waiting) if s is not None)
        return Look(hidden, frozenset(t.name for t in self.running if t.writes))


class Instance:
    """A bridge: its pacer, its session, and what it has read."""

    def __init__(self, database: Database, tempo: Tempo) -> None:
        self.database = database
        self.pacer = Pacer(tempo)
        self.session = object()
        self.inbox: list[tuple[Instance | None, bool]] = []
        self.command: Command | None = None
        self.asked = False
        self.seen: set[int] = set()
        database.listeners.append(self)

    def follow(self, now: float) -> None:
        if not self.pacer.followed:
            self.seen |= self.database.committed
            self.pacer.follow(now)

    def hear(self, now: float) -> None:
        by, asks = self.inbox.pop(0)
        if asks:
            self.pacer.told(now, asks=True)
        elif by is None:
            self.pacer.ring(now)
        elif by is not self:
            self.pacer.told(now, asks=False)
        self.read(now)

    def read(self, now: float) -> None:
        if self.pacer.followed:
            found = bool(self.database.committed - self.seen)
            self.seen |= self.database.committed
            self.pacer.read(now, now, found=found)

    def work(self, now: float) -> None:
        """One step of the session: a statement, or waiting for the lock."""
        if self.command is None:
            self.command = self.pacer.take(now)
        database, command = self.database, self.command
        if command is Command.ASK:
            self._ask(now)
        elif command is not None:
            if command is Command.LET_GO:
                database.release(self.session)
            looks = command in (Command.LET_GO, Command.LOOK)
            if not looks:
                database.notify(self, asks=False)
            self._answer(database.look(self.session) if looks else None, now)

    def _ask(self, now: float) -> None:
        database = self.database
        if not self.asked:
            look = database.look(self.session)
            if look.hidden or not self.pacer.followed:
                self._answer(look, now)
                return
            database.notify(self, asks=True)
            self.asked = True
        elif self.session not in (database.holder, *database.waiting):
            database.waiting.append(self.session)
            database.grant()
        elif database.holder is self.session:
            self._answer(HELD, now)

    def give_up(self, now: float) -> None:
        """The wait for the lock took too long."""
        if self.asked and self.database.holder is not self.session:
            self.database.release(self.session)
            self._answer(self.database.look(self.session), now)

    def _answer(self, answer: object, now: float) -> None:
        self.command, self.asked = None, False
        self.pacer.answered(answer, now)  # type: ignore[arg-type]

    def lose(self, now: float) -> object:
        """The session; returns it, for the server may not know yet."""
        ghost, self.session = self.session, object()
        self.command, self.asked = None, False
        self.pacer.lost(now)
        return ghost


WHICH = st.integers(0, 2)
SELDOM = st.sampled_from([False] * 5 + [True])


class Pacing(RuleBasedStateMachine):
    transactions = Bundle("transactions")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.database = Database()
        self.instances = [Instance(self.database, tempo) for tempo in (EAGER, USUAL, EAGER)]
        for instance in self.instances[:2]:
            instance.follow(self.now)
        self.ghosts: list[object] = []
        self.names = count()

    # Writers.

    @rule(target=transactions)
    def begin(self) -> Transaction:
        return self._begun()

    def _begun(self) -> Transaction:
        transaction = Transaction(f"t{next(self.names)}")
        self.database.running.append(transaction)
        self.database.write(transaction)
        return transaction

    @rule(transaction=transactions)
    def write(self, transaction: Transaction) -> None:
        self.database.write(transaction)

    @rule(transaction=transactions)
    def savepoint(self, transaction: Transaction) -> None:
        transaction.levels.append(Level())
        self.database.write(transaction)

    @rule(transaction=transactions)
    def go_back(self, transaction: Transaction) -> None:
        if len(transaction.levels) > 1:
            transaction.levels.pop()
            self.database.grant()

    @rule(transaction=consumes(transactions), commit=st.sampled_from([True, True, True, False]))
    def end(self, transaction: Transaction, commit: bool) -> None:
        self.database.end(transaction, commit=commit)

    @rule()
    def write_at_once(self) -> None:
        self.database.end(self._begun(), commit=True)

    # Instances.

    @rule(n=WHICH)
    def follow(self, n: int) -> None:
        self.instances[n].follow(self.now)

    @rule(n=WHICH, chance=SELDOM)
    def leave(self, n: int, chance: bool) -> None:
        if chance:
            self.instances[n].pacer.leave()
            self.instances[n].seen.clear()

    @rule(n=WHICH, steps=st.integers(1, 4))
    def work(self, n: int, steps: int) -> None:
        for _ in range(steps):
            self.instances[n].work(self.now)

    @rule(n=WHICH)
    def hear(self, n: int) -> None:
        if self.instances[n].inbox:
            self.instances[n].hear(self.now)

    # Faults.

    @rule(n=WHICH, chance=SELDOM)
    def give_up(self, n: int, chance: bool) -> None:
        if chance:
            self.instances[n].give_up(self.now)

    @rule(n=WHICH, chance=SELDOM, ghost=st.booleans())
    def lose(self, n: int, chance: bool, ghost: bool) -> None:
        if chance:
            self._gone(self.instances[n].lose(self.now), ghost=ghost)

    @rule(n=WHICH, chance=SELDOM, ghost=st.booleans())
    def die(self, n: int, chance: bool, ghost: bool) -> None:
        """And begin anew, with nobody who follows."""
        if chance:
            dead = self.instances[n]
            self.database.listeners.remove(dead)
            self._gone(dead.session, ghost=ghost)
            self.instances[n] = Instance(self.database, dead.pacer.tempo)

    @rule(chance=SELDOM)
    def notice(self, chance: bool) -> None:
        """The server, that somebody is gone."""
        if self.ghosts and chance:
            self.database.release(self.ghosts.pop(0))

    def _gone(self, session: object, *, ghost: bool) -> None:
        if ghost:
            self.ghosts.append(session)
        else:
            self.database.release(session)

    # Time.

    @rule(steps=st.sampled_from([1, 3, 9, 20]))
    def time_passes(self, steps: int) -> None:
        """Everybody keeps up with it, as those must who promise to look in time."""
        for _ in range(steps):
            self.now += PACE
            for instance in self.instances:
                while instance.inbox:
                    instance.hear(self.now)
                if self.now >= instance.pacer.next_read(self.now):
                    instance.read(self.now)
                instance.work(self.now)

    def teardown(self) -> None:
        """Once all is over, everybody has seen everything, and rests."""
        for transaction in list(self.database.running):
            self.database.end(transaction, commit=True)
        self.time_passes(steps=9)
        while self.ghosts:
            self.notice(chance=True)
        self.time_passes(steps=150)
        for instance in self.instances:
            if instance.pacer.followed:
                assert self.database.committed <= instance.seen
                assert instance.pacer.state is State.RESTING
        assert self.database.holder is None
        assert not self.database.waiting


def walk(seed: int) -> None:
    """The same at random: ten times as fast as hypothesis, which makes the example small."""
    dice, machine = random.Random(seed), Pacing()
    begun: list[Transaction] = []
    for _ in range(dice.randint(10, 80)):
        dice.choices((of_writers, of_instances, of_faults, of_time), (8, 9, 4, 5))[0](
            dice, machine, begun
        )
    machine.teardown()


def of_writers(dice: random.Random, machine: Pacing, begun: list[Transaction]) -> None:
    step = dice.choice([machine.write, machine.savepoint, machine.go_back, None, None])
    if dice.random() < 0.3 or not begun:
        begun.append(machine._begun())
    elif step is not None:
        step(transaction=dice.choice(begun))
    elif dice.random() < 0.5:
        machine.write_at_once()
    else:
        ended = begun.pop(dice.randrange(len(begun)))
        machine.end(transaction=ended, commit=dice.random() < 0.8)


def of_instances(dice: random.Random, machine: Pacing, _: list[Transaction]) -> None:
    n = dice.randrange(3)
    steps = (lambda: machine.work(n=n, steps=dice.randint(1, 4)), lambda: machine.hear(n=n))
    dice.choice([*steps, *steps, lambda: machine.follow(n=n)])()


def of_faults(dice: random.Random, machine: Pacing, _: list[Transaction]) -> None:
    n, chance, ghost = dice.randrange(3), dice.random() < 0.2, dice.random() < 0.5
    steps = (
        lambda: machine.give_up(n=n, chance=chance),
        lambda: machine.lose(n=n, chance=chance, ghost=ghost),
        lambda: machine.die(n=n, chance=chance, ghost=ghost),
        lambda: machine.notice(chance=chance),
    )
    dice.choice(steps)()


def of_time(dice: random.Random, machine: Pacing, _: list[Transaction]) -> None:
    machine.time_passes(steps=dice.choice([1, 3, 9, 20]))


def test_no_walk_misses_a_change() -> None:
    for seed in range(800):
        walk(seed)


TestPacing = Pacing.TestCase
TestPacing.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
