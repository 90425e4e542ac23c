"""When a worker that ended is started again."""

from __future__ import annotations

from bridge import supervisor
from bridge.supervisor import Worker


def died(worker: Worker, at: float, now: float, status: int = -9) -> float:
    worker.begin(1, at)
    return worker.ended(status, now)


def test_deaths_in_a_row_wait_longer() -> None:
    worker = Worker(1)
    worker._backoff._share = lambda: 1.0
    pauses = [died(worker, at, at) for at in range(6)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert died(worker, 10.0, 10.0 + supervisor.SETTLED + 1) == 0.2, "it had served for long"


def test_who_was_told_to_stop_is_replaced_at_once() -> None:
    worker = Worker(1)
    assert died(worker, 3.0, 4.0, status=0) == 0.0
    assert (worker.pid, worker.due) == (None, 4.0)


def test_it_is_due_when_the_pause_is_over() -> None:
    worker = Worker(1)
    pause = died(worker, 3.0, 4.0)
    assert worker.due == 4.0 + pause
