"""What the subscribers of one topic were told last, key by key. Pure.

The invariant: every subscriber that is not waiting for a snapshot was told what the
ledger says, or has it in the mailbox. From it follow three things: news can be told from
repetition, so an equal state is not sent again; a row that nobody was shown is not
deleted before their eyes; and a fresh read of the topic, compared with the ledger, shows
what no notification told of (`sync`).

A digest stands for a row. Versions compare as strings. A delete leaves a tombstone while
a read is under way that began before it: what that read shows of the key is older. And a
state that was read before the last whole read is older than what that told, whatever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.changes import Effect

if TYPE_CHECKING:
    from collections.abc import Mapping


class Told(NamedTuple):
    """`digest` is None for a key that is gone."""

    digest: int | None
    version: str


class Verdict(NamedTuple):
    """What a state is to the subscribers; `fresh` if those who wait for nothing must hear it."""

    effect: Effect
    fresh: bool


class Ledger:
    """One topic's."""

    __slots__ = ("_floor", "_told", "suspects")

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._floor = ""
        self.suspects: dict[str, float] = {}
        """Keys that a read showed to differ, and since when, until a notification tells of them."""

    def __len__(self) -> int:
        return len(self._told)

    @property
    def synced(self) -> bool:
        """Whether a whole read of the topic has been taken in."""
        return self._floor != ""

    def holds(self, key: str) -> bool:
        """Whether its subscribers were told that this key is there."""
        told = self._told.get(key)
        return told is not None and told.digest is not None

    def tell(
        self, key: str, digest: int | None, version: str, hint: Effect, *, reading: bool
    ) -> Verdict | None:
        """Note a state that was read; None if something newer has been told already.

        `hint` is what the changes say it is, for as long as the ledger cannot know better;
        `reading` whether a read of the topic is owed or under way.
        """
        self.suspects.pop(key, None)
        before = self._told.get(key)
        if version < max(self._floor, before.version if before is not None else ""):
            return None
        if digest is None and not reading:
            self._told.pop(key, None)
        else:
            self._told[key] = Told(digest, version)
        if not self.synced:
            return Verdict(hint, fresh=True)
        held = before.digest if before is not None else None
        return Verdict(_effect(held, digest), fresh=held != digest)

    def sync(self, rows: Mapping[str, int], version: str) -> dict[str, Effect]:
        """Take in a read of the whole topic, key → digest; returns where it is news.

        What was told after that read began stays as it was told.
        """
        newer = {key: told for key, told in self._told.items() if told.version > version}
        news = self._news(rows, newer) if self.synced else {}
        self._told = {key: Told(digest, version) for key, digest in rows.items()} | newer
        self._floor = version
        return news

    def _news(self, rows: Mapping[str, int], newer: Mapping[str, Told]) -> dict[str, Effect]:
        news = {}
        for key in self._told.keys() | rows.keys():
            before, now = self._told.get(key), rows.get(key)
            held = before.digest if before is not None else None
            if key not in newer and held != now:
                news[key] = _effect(held, now)
        return news

    def suspect(self, keys: Mapping[str, Effect], now: float) -> None:
        """These differ although nothing told so yet: give their notification time to come."""
        for key in keys:
            self.suspects.setdefault(key, now)

    def missed(self, before: float) -> int:
        """How many keys have been suspect since `before`: no notification told of them."""
        late = [key for key, since in self.suspects.items() if since <= before]
        for key in late:
            del self.suspects[key]
        return len(late)


def _effect(held: int | None, digest: int | None) -> Effect:
    if digest is None:
        return Effect.DELETE
    return Effect.INSERT if held is None else Effect.UPDATE
