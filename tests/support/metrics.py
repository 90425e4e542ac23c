"""What a bridge tells Prometheus: by name, and as Prometheus' own tool reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from bridge import config
from bridge.pipeline import Bridge

if TYPE_CHECKING:
    from pathlib import Path

PROMTOOL = shutil.which("promtool")

MISSING = "no promtool found; Debian's package is prometheus"

_SUFFIX = {"counter": "_total", "info": "_info"}
_TYPE = {"info": "gauge"}

_SAMPLES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def families() -> dict[str, str]:
    """Type by name; a histogram and a summary by their family, the others by their sample."""
    bridge = Bridge(config.loads("database: postgresql:///app\ntables:\n  orders:\n", env={}))
    return {
        family.name + _SUFFIX.get(family.type, ""): _TYPE.get(family.type, family.type)
        for family in bridge.metrics.registry.collect()
    }


def samples() -> set[str]:
    """Every name that a query may use."""
    return {
        name + suffix for name, kind in families().items() for suffix in _SAMPLES.get(kind, ("",))
    }


def named(query: str) -> set[str]:
    """The metrics that a query names."""
    return set(re.findall(r"\b(?:rowcast|process)_\w+", query))


def promtool(directory: Path, *arguments: str, given: bytes = b"") -> str:
    """Everything it says; raises AssertionError with that if it finds anything wrong."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=directory, input=given, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
