"""Every error the bridge raises on purpose.

An error names the thing, the value and the next step, and says whose fault it is:

    BridgeError
    ├── ConfigError      the config file's: every problem at once, each with its place
    ├── CatalogError     the database's shape: a table, key or column that is not there
    ├── DatabaseError    the database's state: unreachable, a standby, behind a pooler
    ├── EventError       a publisher's, in `bridge.events`: nothing was published
    └── ProtocolError    a subscriber's: becomes an `error` message, never a crash
        ├── TokenError   its token is not what it says, or no longer
        └── LimitError   it takes too much; most often it passes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class BridgeError(Exception):
    """Root of everything below; its text is meant for a person."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: `path` is dotted, `line` and `column` count from 1."""

    path: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(BridgeError):
    """The config file does not say something the bridge can do."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class CatalogError(BridgeError):
    """The database does not have what the config names."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DatabaseError(BridgeError):
    """The database cannot be used for this now."""


class ProtocolError(BridgeError):
    """A subscriber asked for something it cannot have; `code` is one of the wire's error codes."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class TokenError(ProtocolError):
    """A token that proves nothing. `expired`: it did, and a fresh one would."""

    def __init__(self, message: str, *, expired: bool = False) -> None:
        super().__init__("unauthenticated", message)
        self.expired = expired


class LimitError(ProtocolError):
    """It takes too much of something, which passes."""
