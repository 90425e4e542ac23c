"""Which bridges can work with which database, and the one number for it. Pure.

What bridges make in a database has a *schema version*: that of the bridge's own last
Alembic revision. It stands in the comment of the table `epoch`, which every role can
read, together with the oldest version whose bridges can work with it:

    … rowcast: {"schema": 3, "since": 2}

A bridge knows versions up to its own, and works with those from `NEEDS` on. So either side
can be the newer one as long as nothing that both read means something else, and a change
after which it does raises `since`, or `NEEDS`, or both.

What a trigger's function does in detail is not counted here: that its text is another is
seen by its digest, and is no reason not to serve (`triggers`).
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

SCHEMA = 1
"""The version that this bridge's migrations lead to."""

SINCE = 1
"""The oldest bridges that can work with it, by the version that they know."""

NEEDS = 1
"""The oldest version that this bridge works with."""

_WRITTEN = re.compile(r"rowcast: (\{.*\})\Z")
_ABOUT = "Raised at every connect, so that versions never go back"


class Mark(NamedTuple):
    """What a database says of itself."""

    schema: int
    since: int


def comment() -> str:
    """What is written at `epoch`."""
    return f"{_ABOUT}. rowcast: " + json.dumps({"schema": SCHEMA, "since": SINCE})


def read(written: str) -> Mark | None:
    """What is written there, or None where nothing of the kind is: comments can get lost."""
    found = _WRITTEN.search(written)
    try:
        fields = json.loads(found[1]) if found else {}
        return Mark(int(fields["schema"]), int(fields["since"]))
    except (KeyError, TypeError, ValueError):
        return None


def refusal(written: str, schema: str) -> str | None:
    """Why this bridge cannot work with such a database, and what to do; None if it can."""
    mark = read(written)
    if mark is None:
        return None
    if mark.since > SCHEMA:
        return (
            f"{schema} has schema version {mark.schema}, which takes a bridge that knows"
            f" {mark.since} or later, and this one knows {SCHEMA}; start a newer rowcast"
        )
    if mark.schema < NEEDS:
        return (
            f"{schema} has schema version {mark.schema}, and this bridge needs {NEEDS} or later;"
            " run `rowcast migrate` of this version"
        )
    return None


def remark(written: str) -> str | None:
    """What to say where the other side's version is another, and it works all the same."""
    mark = read(written)
    if mark is None or mark.schema == SCHEMA:
        return None
    return f"has schema version {mark.schema}, and this bridge makes {SCHEMA}, which go together"


def newer(written: str, schema: str) -> str | None:
    """Why this bridge must not migrate such a database; None if it may."""
    mark = read(written)
    if mark is None or mark.schema <= SCHEMA:
        return None
    return (
        f"{schema} has schema version {mark.schema}, made by a newer rowcast than this one, which"
        f" knows {SCHEMA}; migrate, or remove, with that one"
    )
