"""What a migration does, as values: statements in steps, in the order to run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Step:
    """Statements to run in one transaction. `lock` is the table lock they take, or empty.

    `table` is for people: the public name, or the catalog's where none is left;
    `finding` says what is wrong now, `summary` what the step does about it. `undo` are
    the statements that bring back what was there before. `relation` is what is locked.
    What is not `grave` keeps no bridge from its work: it is as another version made it.
    """

    table: str
    finding: str
    summary: str
    statements: tuple[str, ...]
    lock: str = ""
    undo: tuple[str, ...] = ()
    relation: str = ""
    grave: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order to run them; each can be run again without harm after a crash."""

    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @property
    def undo(self) -> tuple[str, ...]:
        """Statements that take all of it back, the last step first."""
        return tuple(statement for step in reversed(self.steps) for statement in step.undo)
