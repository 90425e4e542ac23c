"""Ports that are still free when a server that has one is started again.

A port that the kernel picks is one that it also picks for outgoing connections: whoever
gives it up for a moment may find it taken by one of those. Below them it picks none.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

FIRST, END = 10_240, 32_768
"""Linux takes outgoing ports from the end on, others from further up."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has. Raises OSError where a hundred in a row are taken."""
    for _ in range(100):
        port = FIRST + secrets.randbelow(END - FIRST)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no free port found between {FIRST} and {END}")
