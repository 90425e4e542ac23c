"""Numbers of the config, with their units: counts, durations, sizes.

Each is written with its unit, which nothing guesses. Like all of `values`, these take
`Data` and raise `ValueError` with the value and the remedy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.config.source import Filled, Scalar
from bridge.config.values import shown

if TYPE_CHECKING:
    from bridge.config.source import Data

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h)")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_COUNT = re.compile(r"0|[1-9][0-9]{0,17}")
_HOUR = 3600.0
_RETENTION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def count(value: Data, least: int = 1, most: int = 10**9) -> int:
    """A whole number, written in plain decimals."""
    digits = value.text if isinstance(value, Scalar) else value if isinstance(value, Filled) else ""
    if not _COUNT.fullmatch(digits):
        raise ValueError(_not_a_count(value))
    if not least <= int(digits) <= most:
        raise ValueError(f"{shown(value)} must be from {least} to {most}")
    return int(digits)


def _not_a_count(value: Data) -> str:
    written = value.text if isinstance(value, Scalar) else value
    if isinstance(written, str) and not isinstance(written, Filled):
        plain = written.replace("_", "").lstrip("0")
        if isinstance(value, str) and plain == written and _COUNT.fullmatch(plain):
            return f"{shown(value)} is text; write {plain}, without quotes"
        if written.startswith("0") and _COUNT.fullmatch(plain):
            return f"{shown(value)} is octal to YAML; write {plain}"
    return f"{shown(value)} must be a whole number, such as 100"


def port(value: Data) -> int:
    """A TCP port; 0 lets the system choose one."""
    return count(value, 0, 65_535)


def duration(value: Data) -> float:
    """`100ms`, `2s`, `5m`, `1h`, `0` → seconds."""
    if isinstance(value, Scalar) and value.text == "0":
        return 0.0
    written = value if isinstance(value, str) else ""
    bare = value.text if isinstance(value, Scalar) and value.kind in ("int", "float") else written
    if re.fullmatch(r"[0-9]+", bare) and not isinstance(value, Filled):
        raise ValueError(f"{shown(value)} has no unit; write {bare}ms or {bare}s")
    if not (match := _DURATION.fullmatch(written)):
        raise ValueError(f"{shown(value)} is not a duration; write it like 100ms, 2s, 5m or 1h")
    seconds = float(match[1]) * _MILLISECONDS[match[2]] / 1000
    if seconds > _HOUR:
        raise ValueError(f"{shown(value)} is over an hour; the longest is 1h")
    return seconds


def trail(value: Data) -> float:
    """A time to keep that may be as long as ten years."""
    return retention(value, most=3650)


def retention(value: Data, most: int = 90) -> float:
    """`30m`, `24h`, `7d` → seconds; `most` is days."""
    match = _RETENTION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{shown(value)} is not a time to keep; write it like 30m, 24h or 7d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not 1 <= seconds <= most * _SECONDS["d"]:
        raise ValueError(f"{shown(value)} must be from 1s to {most}d")
    return seconds


def as_duration(seconds: float) -> str:
    """Seconds → the shortest way to write them in the config."""
    milliseconds = seconds * 1000
    for unit in ("h", "m", "s"):
        if milliseconds >= _MILLISECONDS[unit] and milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds / _MILLISECONDS[unit]:.0f}{unit}"
    return f"{milliseconds:.6f}".rstrip("0").rstrip(".") + "ms"


def size(value: Data, least: int = 1, most: int = 2**30) -> int:
    """`64KiB`, `1MiB`, `512B`, `1024` → bytes."""
    written = value.text if isinstance(value, Scalar) and value.kind == "int" else value
    match = _SIZE.fullmatch(written) if isinstance(written, str) else None
    if not match or (not match[2] and not _COUNT.fullmatch(match[1])):
        raise ValueError(f"{shown(value)} is not a size; write it like 512B, 64KiB or 1MiB")
    number = int(match[1]) * _BYTES[match[2]]
    if not least <= number <= most:
        raise ValueError(f"{shown(value)} must be from {as_size(least)} to {as_size(most)}")
    return number


def as_size(number: int) -> str:
    """Bytes → the shortest way to write them in the config."""
    units = (unit for unit in ("GiB", "MiB", "KiB") if number % _BYTES[unit] == 0)
    unit = next(units, "B")
    return f"{number // _BYTES[unit]}{unit}"


def volume(value: Data) -> int:
    """Bytes of a table, for which a disk is the limit."""
    return size(value, 2**20, 2**40)
