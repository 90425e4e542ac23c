"""The JavaScript client, as a page imports it from the bridge: `/rowcast.js`, and what it loads."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def modules() -> dict[str, bytes]:
    """By path. Beside this file inside an installed package, in `clients/js` in a checkout."""
    here = Path(__file__).with_name("javascript")
    place = here if here.is_dir() else Path(__file__).parents[2] / "clients" / "js"
    return {f"/{module.name}": module.read_bytes() for module in place.glob("rowcast*.js")}
