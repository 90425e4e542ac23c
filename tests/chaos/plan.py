"""How much of what, for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Times in seconds; `rate` is committed writes a second, and `readers` of the subscribers read
    the log. A round lasts `round_seconds` from when everybody has everything. After `hits` hits it
    ends early."""

    seed: int
    seconds: float
    faults: tuple[str, ...]
    instances: int = 3
    sockets: int = 60
    streams: int = 20
    readers: int = 20
    writers: int = 6
    rate: float = 500.0
    round_seconds: float = 60.0
    phase: tuple[float, float] = (4.0, 10.0)
    pause: tuple[float, float] = (0.0, 0.2)
    patience: float = 60.0
    hits: int | None = None
    pg: str | None = None
