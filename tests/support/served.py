"""`rowcast serve` for `warm`: what it imports is there before it is started.

served DIRECTORY OUT PORT ENVIRONMENT        (which is JSON)
"""

from __future__ import annotations

import json
import os
import sys

import bridge.commands.serve
import bridge.config.reader
import bridge.pipeline
import bridge.process  # noqa: F401
from bridge.cli import main as rowcast


def main() -> None:
    directory, out, port, environment = sys.argv[1:]
    os.chdir(directory)
    os.environ.update(json.loads(environment))
    # `warm` has its own use for the pipe that this would write to.
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stdout.fileno())
    rowcast(["serve", "--port", port])
