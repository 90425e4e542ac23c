"""What goes wrong. Each fault is injected, lasts, and is over when its function returns.

A function returns how many things it hit; what hits nothing is not counted. `slow` faults
take turns, since two of them would undo each other; the others come in quick succession
beside them. After a `blind` one only `reconcile` finds what was missed.

Codes are those of the table in docs/reliability.md, which also says where those are tried
that are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.faults import bridges, capture, links, server, sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.chaos.world import World


class Fault(NamedTuple):
    title: str
    inject: Callable[[World, Random], Awaitable[int]]
    weight: float
    slow: bool = False
    blind: bool = False


def _slow(title: str, inject: Callable[[World, Random], Awaitable[int]], weight: float) -> Fault:
    return Fault(title, inject, weight, slow=True)


def _blind(title: str, inject: Callable[[World, Random], Awaitable[int]], weight: float) -> Fault:
    return Fault(title, inject, weight, slow=True, blind=True)


FAULTS = {
    "F1": Fault("listener's backend killed", sessions.listeners, 40),
    "F2": Fault("reading backends killed", sessions.readers, 25),
    "F3": _slow("bridge SIGKILLed and started again", bridges.kill_bridge, 3),
    "F4": _slow("bridge SIGSTOPped for 0.5-7 s", bridges.stop_bridge, 2),
    "F5": _slow("event loop blocked for 0.5-9 s", bridges.block_loop, 2),
    "F6": _slow("backend SIGKILLed: crash restart, burnt xids", server.crash, 3),
    "F7": _slow("server restarted", server.restart_database, 2),
    "F7b": _slow("server killed, down for 0-3 s", server.lose_database, 1),
    "F8": _slow("failover to a standby that lags behind", server.fail_over, 1),
    "F9": _slow("link to the database frozen for 0.5-12 s", links.freeze_link, 2),
    "F9b": Fault("link to the database cut", links.cut_link, 10),
    "F9c": _slow("open links to the database stranded for ever", links.strand_link, 1),
    "F9d": _slow("all clients' links frozen for 0.5-4 s", links.freeze_clients, 1),
    "F12": _blind("notifications lost for 0.2-3 s", links.lose_notifications, 5),
    "F12b": _slow("notifications lost for ever, probes too", links.deafen_link, 1),
    "F13": _slow("notifications five times, late, jumbled", links.jumble_notifications, 3),
    "F14": _blind("triggers disabled, then migrated", capture.disable_triggers, 4),
    "F16": _blind("partition detached and attached", capture.detach, 4),
    "F16b": Fault("partition truncated", capture.truncate_partition, 3, blind=True),
    "F17": Fault("written with triggers bypassed", capture.bypass_triggers, 5, blind=True),
    "F20": _slow("transaction open for 0.5-5 s", sessions.long_transaction, 2),
    "F21": _slow("NOTIFY queue filled to 1 % by who stalls", sessions.fill_queue, 1),
    "F22": _blind("migrated against a writer's transaction", capture.migrate_against_writer, 2),
    "F23": _blind("migration SIGKILLed between two steps", capture.kill_migration, 2),
    "F24": _slow("ACCESS EXCLUSIVE lock for 0.5-7 s", sessions.lock, 2),
    "F24b": Fault("ACCESS EXCLUSIVE lock for 0.05-0.6 s", sessions.lock_briefly, 10),
    "F25": _slow("connections exhausted", sessions.exhaust, 1),
    "F27": Fault("all clients dropped at once", links.cut_clients, 4),
    "F28": _slow("bridge restarted by SIGTERM", bridges.restart_bridge, 2),
    "F32": _slow("server's clock set back by an hour", server.turn_back_clock, 0.5),
}
