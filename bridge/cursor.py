"""Cursors: positions that any instance can resume from, opaque to who holds them. Pure.

A cursor says what it is a position in: which store (`identity`, which a crash, a failover
or a restore to elsewhere changes), and which topic. One that was made for another topic is
as good as none, so nobody can reach a topic by the cursor of another.

    s.IDENTITY.TOPIC.XMIN.XMAX.XIP-XIP        a snapshot, each XIP as a distance from XMIN
    l.IDENTITY.TOPIC.SEQ                      a place in the log

Nothing in it is secret and nothing needs a signature: who makes one up gets rows of a topic
that they may follow anyway. Numbers are hexadecimal.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from typing import NamedTuple

LENGTH = 4096
"""Characters of the longest cursor; where more transactions are open at once, there is none."""

_XIP = re.compile(r"(?:[0-9a-f]{1,16}(?:-[0-9a-f]{1,16})*)?")
_STATE = re.compile(
    r"s\.([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.([0-9a-f-]*)"
)


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


def _short(text: str) -> str:
    return blake2s(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
