"""Who is read to when: a crowd together, everybody else at once."""

from __future__ import annotations

from bridge import wire
from bridge.changes import Snapshot
from bridge.hub import Hub
from bridge.tables import Column, Table
from bridge.topics import Template
from bridge.turns import CROWD, PAUSE
from tests.support.sinks import FakeSink

ID = (Column("id", "int4", "int4"),)
TOPICS = tuple(map(Template.parse, ["orders", "orders/{id}"]))
ORDERS = Table("orders", "public", "orders", 1, ID, ("id",), TOPICS, ())


class Bench:
    """A live hub with one table."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.hub.routes.watch([ORDERS])
        self.hub.resume()

    def come(self, count: int, topic: str = "orders") -> None:
        for _ in range(count):
            mailbox = self.hub.join(FakeSink(), wire.welcome("test", "0"))
            self.hub.subscribe(mailbox, wire.Subscribe(topic))

    def read(self, now: float) -> int:
        """How many one read serves that begins now, 0 if none may."""
        if (request := self.hub.requests(single=9, other=9, now=now)) is None:
            return 0
        served = sum(len(asked.waiting) for asked in request.topics.values())
        self.hub.deliver(request, dict.fromkeys(request.topics, Snapshot([], "1")), now)
        return served


def test_after_a_crowd_the_next_ones_are_read_to_together() -> None:
    bench = Bench()
    bench.come(1)
    assert bench.read(0.0) == 1
    bench.come(CROWD)
    assert bench.read(0.1) == CROWD
    assert bench.hub.turns.due() is None, "nobody waits"
    bench.come(3)
    assert bench.read(0.2) == 0
    assert bench.hub.turns.due() == 0.1 + PAUSE
    bench.come(4)
    assert bench.read(0.1 + PAUSE) == 7
    bench.come(1)
    assert bench.read(0.2 + PAUSE) == 1, "seven are no crowd"


def test_a_crowd_that_has_gone_is_remembered() -> None:
    bench = Bench()
    bench.come(CROWD)
    assert bench.read(0.0) == CROWD
    for mailbox in list(bench.hub.mailboxes):
        bench.hub.leave(mailbox)
    bench.come(1)
    assert bench.read(0.1) == 0
    assert bench.read(PAUSE) == 1


def test_few_never_wait() -> None:
    bench = Bench()
    for _ in range(100):
        bench.come(CROWD - 1)
        assert bench.read(0.0) == CROWD - 1


def test_a_topic_that_rests_holds_up_no_other() -> None:
    bench = Bench()
    bench.come(CROWD, "orders/1")
    bench.come(CROWD)
    assert [bench.read(0.0), bench.read(0.0)] == [CROWD, CROWD]
    bench.come(1, "orders/1")
    bench.come(1, "orders/2")
    assert [bench.read(0.1), bench.read(0.1)] == [1, 0]


def test_what_a_loss_has_kept_from_a_crowd_is_read_at_once() -> None:
    bench = Bench()
    bench.come(CROWD)
    assert bench.read(0.0) == CROWD
    bench.hub.gap("orders")
    assert bench.read(0.1) == CROWD
    bench.come(1)
    assert bench.read(0.2) == 0


def test_a_crowd_whose_read_failed_is_read_to_a_pause_later() -> None:
    bench = Bench()
    bench.come(CROWD)
    request = bench.hub.requests(single=9, other=9, now=0.0)
    assert request is not None
    bench.hub.again(request)
    assert bench.read(0.5) == 0
    assert bench.read(PAUSE) == CROWD
