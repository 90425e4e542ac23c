"""Whatever writers do, what is settled is every committed number, once, in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drain import Drain, Entry, Proof


class World:
    """A sequence and its writers, by the rules of PostgreSQL: the lock is taken before the
    number and given back after the rows are visible or gone."""

    def __init__(self) -> None:
        self.issued = 0
        self.open: dict[str, list[int]] = {}
        self.committed: list[int] = []
        self._names = 0

    def begin(self) -> None:
        self._names += 1
        self.open[f"3/{self._names}"] = []

    def write(self, n: int) -> None:
        if self.open:
            self.issued += 1
            self._chosen(n).append(self.issued)

    def end(self, n: int, *, commit: bool) -> None:
        if self.open:
            name = list(self.open)[n % len(self.open)]
            self.committed += self.open[name] if commit else []
            del self.open[name]

    def _chosen(self, n: int) -> list[int]:
        return list(self.open.values())[n % len(self.open)]

    def visible(self, after: int, limit: int) -> list[Entry]:
        found = sorted(seq for seq in self.committed if seq > after)
        return [Entry(seq, "t", "[]") for seq in found[:limit]]


class Reader:
    """What the shell around a Drain does, a step at a time."""

    def __init__(self, world: World, limit: int) -> None:
        self.world = world
        self.limit = limit
        self.drain = Drain(0)
        self.got: list[int] = []
        self._asked = False

    def step(self) -> None:
        """One statement: other things happen between any two."""
        if self.drain.proof is not None and not self._asked:
            self.drain.proof.hold(self.world.open)
            self._asked = True
            return
        self._asked = False
        entries = self.world.visible(self.drain.settled, self.limit)
        settled = self.drain.see(entries, complete=len(entries) < self.limit)
        self.got += [entry.seq for entry in settled]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "write", "write", "commit", "abort", "read", "read", "lost"]),
        st.integers(0, 5),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 5))
def test_everything_committed_is_settled_once_and_in_order(
    actions: list[tuple[str, int]], limit: int
) -> None:
    world = World()
    reader = Reader(world, limit)
    for action, n in actions:
        match action:
            case "begin":
                world.begin()
            case "write":
                world.write(n)
            case "read":
                reader.step()
            case "lost":
                reader.drain.forget()
                reader._asked = False
            case _:
                world.end(n, commit=action == "commit")
        assert reader.got == sorted(reader.got)
    while world.open:
        world.end(0, commit=True)
    for _ in range(4 * len(world.committed) + 8):
        reader.step()
    assert reader.got == sorted(world.committed)


def entries(*numbers: int) -> list[Entry]:
    return [Entry(seq, "t", "[]") for seq in numbers]


def seen(drain: Drain, *numbers: int) -> list[int]:
    return [entry.seq for entry in drain.see(entries(*numbers), complete=True)]


def test_without_a_gap_nobody_is_asked() -> None:
    drain = Drain(4)
    assert seen(drain, 5, 6) == [5, 6]
    assert drain.proof is None


def test_a_gap_waits_for_those_who_held_it_and_for_nobody_else() -> None:
    drain = Drain(0)
    assert seen(drain, 1, 3) == [1]
    assert drain.proof is not None
    drain.proof.hold({"3/1", "4/1"})
    assert seen(drain, 3) == []
    drain.proof.hold({"4/1", "5/9"})
    assert seen(drain, 3, 4) == []
    drain.proof.hold({"5/9"})
    assert seen(drain, 3, 4) == [3, 4]
    assert drain.settled == 4


def test_a_gap_that_is_filled_ends_by_itself() -> None:
    drain = Drain(0)
    assert seen(drain, 2) == []
    assert seen(drain, 1, 2) == [1, 2]
    assert drain.proof is None


def test_what_was_proven_before_a_loss_counts_no_more() -> None:
    drain = Drain(0)
    assert seen(drain, 2) == []
    assert drain.proof is not None
    drain.proof.hold(())
    drain.forget()
    assert seen(drain, 2) == []


def test_a_proof_begins_with_the_first_look() -> None:
    proof = Proof()
    assert not proof.done
    proof.hold(())
    assert proof.done
