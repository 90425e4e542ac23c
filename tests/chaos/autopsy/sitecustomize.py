"""In each bridge that chaos starts: SIGUSR2 writes to the log what every thread and task waits for.

Python imports a module of this name by itself, so the bridges run as they are.
"""

import asyncio
import faulthandler
import signal
import sys


def _tell(*_: object) -> None:
    faulthandler.dump_traceback(all_threads=True)
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


signal.signal(signal.SIGUSR2, _tell)
