"""What a read failed of: a value, a policy, or the database. Pure.

A value that PostgreSQL cannot cast fails its whole statement. So a batch is split until the
culprit stands alone; whatever else fails is tried again whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.tables import Table
    from bridge.topics import Template

VALUE: tuple[type[Exception], ...] = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    UnicodeError,
)
"""Said of a value rather than of the database: class 22 (data exception), 23 (a domain's
constraint), 54 (program limit), or a character that the encoding does not have."""

TRIES = 64
"""Reads of one batch that may fail: enough to find three culprits in a thousand keys."""


class RefusedError(BridgeError):
    """So much of a batch cannot be read that it is cheaper to read what is followed anew.

    No row is the reason, but somebody who sends notifications that no trigger wrote.
    """


class RaisedError(BridgeError):
    """A program in the database, a policy's function say, refuses to go on."""


POLICY: tuple[type[Exception], ...] = (
    *VALUE,
    RaisedError,
    psycopg.errors.CardinalityViolation,
    psycopg.errors.CaseNotFound,
    psycopg.errors.NoDataFound,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyRows,
    psycopg.errors.UndefinedObject,
)
"""A policy may also fail because of who looks. That is said to those who look alike, and
must not keep the bridge busy with trying again, nor make it unready for everybody."""


def raised(error: psycopg.Error) -> bool:
    """Whether it is an explicit RAISE, which may have any SQLSTATE."""
    return error.diag.source_function == "exec_stmt_raise"


class Tries:
    """How many reads of a batch may still fail; None is any number."""

    def __init__(self, left: int | None) -> None:
        self._left = left

    def count(self) -> None:
        if self._left == 0:
            raise RefusedError
        if self._left is not None:
            self._left -= 1


def refusal(table: Table, template: Template, error: Exception | None) -> str:
    """Why there is no topic. `error` is of nothing but the value that somebody sent.

    Of any other read what PostgreSQL says is not passed on: it may quote a row.
    """
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    reason = said or "the value cannot be read, or a row, or a policy fails for your claims"
    return f"no such topic of {table.name} ({template.text}): {reason}"
