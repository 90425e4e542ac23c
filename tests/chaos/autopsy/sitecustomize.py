"""In each bridge that chaos starts. Python imports a module of this name by itself, so the
bridges run as they are.

SIGUSR2 writes to the log what every thread and task waits for. SIGUSR1 blocks the event loop,
for as long as there is a file PID.blocked where the bridge was started.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path


def _tell(*_: object) -> None:
    faulthandler.dump_traceback(all_threads=True)
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def _block(*_: object) -> None:
    sign = Path(f"{os.getpid()}.blocked")
    while sign.exists():
        time.sleep(0.02)


signal.signal(signal.SIGUSR2, _tell)
signal.signal(signal.SIGUSR1, _block)
