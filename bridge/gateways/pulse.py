"""Whether those behind WebSockets are still there: all are asked by one timer.

The library would keep a task for each connection that does so, which costs a kilobyte of memory
each and, with thousands of idle subscribers, more processor time than what they are told. Here
they are asked in turns, a twentieth of them each second, and whatever came since the last time
counts as an answer. Who takes nothing is not asked: it could not answer, and is ended sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from websockets.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable

ROUND = 20
"""Turns, a second each, between two pings of one connection; it has as long to answer."""


class Patient(Protocol):
    """A WebSocket. `heard`: anything came from it since this was last set to False."""

    heard: bool

    @property
    def writable(self) -> bool: ...
    def ask(self) -> None: ...
    def end(self, code: int, reason: str) -> None: ...


class Pulse:
    """The open WebSockets of a gateway, in as many groups as a round has turns."""

    def __init__(self, turns: int = ROUND) -> None:
        self._groups: list[dict[Patient, None]] = [{} for _ in range(turns)]
        self._now = 0
        self._next = 0

    def join(self, patient: Patient) -> int:
        """Returns what to `leave` with. Groups are filled in turns, for a herd comes at once."""
        group = self._next = (self._next + 1) % len(self._groups)
        self._groups[group][patient] = None
        patient.heard = True
        return group

    def leave(self, patient: Patient, group: int) -> None:
        self._groups[group].pop(patient, None)

    def turn(self) -> None:
        """Ask the next group; end those of it that have not been heard of since they were asked."""
        self._now = (self._now + 1) % len(self._groups)
        ask(list(self._groups[self._now]))


def ask(patients: Iterable[Patient]) -> None:
    for patient in patients:
        if not patient.heard:
            patient.end(CloseCode.INTERNAL_ERROR, "no answer to a ping")
        elif patient.writable:
            patient.heard = False
            patient.ask()
