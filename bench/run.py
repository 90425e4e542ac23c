"""What a target's `measure` is given: how much to do, and whom to tell how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """`quick` is for a look: small sizes, few rounds. `rounds` goes before a target's own."""

    pg: str | None = None
    quick: bool = False
    rounds: int | None = None
    peers: tuple[Path, ...] = ()
    step: Callable[[str], None] = field(default=lambda _: None)

    def size(self, full: T, quick: T) -> T:
        return quick if self.quick else full

    def turns(self, lines: Sequence[T], full: int, quick: int = 2) -> Iterator[tuple[int, T]]:
        """(round, line) for each, beginning with another one each round: what else the machine
        does falls on all alike."""
        rounds = self.rounds or self.size(full, quick)
        for number in range(rounds):
            for line in (*lines[number % len(lines) :], *lines[: number % len(lines)]):
                self.step(f"round {number + 1} of {rounds}: {line}")
                yield number, line
