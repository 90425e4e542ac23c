"""Cursors: positions that any instance can resume from, opaque to who holds them. Pure.

A cursor says what it is a position in: which store (`identity`, which a crash, a failover
or a restore to elsewhere changes), and which topic. One that was made for another topic is
as good as none, so nobody can reach a topic by the cursor of another.

    s.IDENTITY.TOPIC.XMIN.XMAX.XIP-XIP        a snapshot, each XIP as a distance from XMIN
    l.IDENTITY.TOPIC.SEQ                      a place in the log
    h.IDENTITY.TOPIC.BASE64                   a place within a replay: a `Place` as JSON

Nothing in it is secret and nothing needs a signature: who makes one up gets rows of a topic
that they may follow anyway. Numbers are hexadecimal.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2s
from typing import NamedTuple

LENGTH = 4096
"""Characters of the longest cursor; where more transactions are open at once, there is none."""

_XIP = re.compile(r"(?:[0-9a-f]{1,16}(?:-[0-9a-f]{1,16})*)?")
_STATE = re.compile(
    r"s\.([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.([0-9a-f-]*)"
)

_PLACE = re.compile(r"l\.([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9a-f]{1,15})")
_REPLAY = re.compile(r"h\.([0-9a-f]{8})\.([0-9a-f]{8})\.([A-Za-z0-9_=-]+)")


class Moment(NamedTuple):
    """A snapshot as `pg_snapshot` has it: transactions from `xmax` on, and those in `xip`, are
    not in it."""

    xmin: int
    xmax: int
    xip: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str) -> Moment:
        """PostgreSQL's own text, `xmin:xmax:xip,xip`."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(one) for one in xip.split(",") if one))

    @property
    def completed(self) -> int:
        """How many transactions had ended: of two snapshots, the later has no fewer."""
        return self.xmax - len(self.xip)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.xip))}"

    def sees(self, xid: int) -> bool:
        """Whether that transaction, committed by now, was so in this snapshot."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)


def of_moment(identity: str, topic: str, moment: Moment) -> str | None:
    """The cursor of who has got everything that is in this snapshot; None if it is too long."""
    xip = "-".join(f"{one - moment.xmin:x}" for one in moment.xip)
    written = f"s.{_short(identity)}.{_short(topic)}.{moment.xmin:x}.{moment.xmax:x}.{xip}"
    return written if len(written) <= LENGTH else None


def moment(cursor: str, identity: str, topic: str) -> Moment | None:
    """The snapshot that a cursor stands for; None if it is not one of this store and topic."""
    match = _STATE.fullmatch(cursor) if len(cursor) <= LENGTH else None
    if match is None or (match[1], match[2]) != (_short(identity), _short(topic)):
        return None
    xmin, xmax = int(match[3], 16), int(match[4], 16)
    if not _XIP.fullmatch(match[5]):
        return None
    xip = tuple(xmin + int(one, 16) for one in match[5].split("-") if one)
    return Moment(xmin, xmax, xip) if xmin <= xmax and all(x < xmax for x in xip) else None


class Place(NamedTuple):
    """How far one subscriber of a log topic has come.

    `seq`: it got everything of the log up to there. While rows that are older than the log
    are replayed, `after` are the position and the key of the last one, as texts, and empty
    before the first; else it is None. Of the log up to `until`, rows whose position is not
    beyond `skip` are left out.
    """

    seq: int
    after: tuple[str, ...] | None = None
    skip: str | None = None
    until: int = 0

    def at(self, seq: int) -> Place:
        """Further on in the log."""
        return Place(seq, None, self.skip, self.until) if seq < self.until else Place(seq)


def of_place(identity: str, topic: str, place: Place) -> str | None:
    """The cursor of who has come so far; None if it is too long."""
    start = f"{_short(identity)}.{_short(topic)}"
    if place.after is None and place.skip is None:
        return f"l.{start}.{place.seq:x}"
    text = json.dumps(place, separators=(",", ":")).encode()
    written = f"h.{start}.{urlsafe_b64encode(text).decode()}"
    return written if len(written) <= LENGTH else None


def place(cursor: str, identity: str, topic: str) -> Place | None:
    """The place that a cursor stands for; None if it is not one of this log and topic."""
    if len(cursor) > LENGTH:
        return None
    match = _PLACE.fullmatch(cursor) or _REPLAY.fullmatch(cursor)
    if match is None or (match[1], match[2]) != (_short(identity), _short(topic)):
        return None
    return Place(int(match[3], 16)) if cursor.startswith("l") else _replayed(match[3])


def _replayed(text: str) -> Place | None:
    try:
        seq, after, skip, until = json.loads(urlsafe_b64decode(text))
    except (ValueError, TypeError, RecursionError):
        return None
    whole = all(type(number) is int and 0 <= number < 2**60 for number in (seq, until))
    texts = [skip, *(after if isinstance(after, list) else [after])]
    if not whole or not all(text is None or _is_text(text) for text in texts):
        return None
    return Place(seq, None if after is None else tuple(after), skip, until)


def _is_text(value: object) -> bool:
    """Text as PostgreSQL has it: no NUL, and no half of a surrogate pair."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _short(text: str) -> str:
    return blake2s(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
