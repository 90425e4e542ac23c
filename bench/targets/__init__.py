"""One module for each target: `TARGET`, `TITLE`, and `measure(run)`, which gives its `Result`."""

NAMES = (
    "latency",
    "writes",
    "bulk",
    "burst",
    "fanout",
    "flush",
    "blocks",
    "memory",
    "storm",
    "idle",
    "growth",
    "start",
    "listeners",
    "rls",
)
