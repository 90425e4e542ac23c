"""Who is asked whether it is there, and when; and who is ended because it is not."""

from __future__ import annotations

from bridge.gateways.pulse import ROUND, Pulse


class Peer:
    def __init__(self) -> None:
        self.heard = False
        self.writable = True
        self.asked = 0
        self.ended: int | None = None

    def ask(self) -> None:
        self.asked += 1

    def end(self, code: int, _reason: str) -> None:
        self.ended = code


def turns(pulse: Pulse, count: int, *answering: Peer) -> None:
    for _ in range(count):
        pulse.turn()
        for peer in answering:
            peer.heard = True


def test_who_answers_is_asked_once_in_a_round() -> None:
    pulse, peer = Pulse(), Peer()
    pulse.join(peer)
    turns(pulse, 3 * ROUND, peer)
    assert (peer.asked, peer.ended) == (3, None)


def test_who_has_not_answered_after_a_round_is_ended() -> None:
    pulse, peer = Pulse(), Peer()
    pulse.join(peer)
    turns(pulse, ROUND)
    assert (peer.asked, peer.ended) == (1, None)
    turns(pulse, ROUND)
    assert (peer.asked, peer.ended) == (1, 1011)


def test_who_takes_nothing_is_not_asked_for_it_could_not_answer() -> None:
    pulse, peer = Pulse(), Peer()
    pulse.join(peer)
    peer.writable = False
    turns(pulse, 3 * ROUND)
    assert (peer.asked, peer.ended) == (0, None)


def test_a_herd_is_not_asked_all_at_once() -> None:
    pulse, peers = Pulse(), [Peer() for _ in range(10 * ROUND)]
    for peer in peers:
        pulse.join(peer)
    pulse.turn()
    assert sum(peer.asked for peer in peers) == 10


def test_who_left_is_not_asked() -> None:
    pulse, peer = Pulse(), Peer()
    pulse.leave(peer, pulse.join(peer))
    turns(pulse, ROUND)
    assert peer.asked == 0
