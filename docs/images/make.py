"""Make inspector.png: the demo's page in a real browser, some seconds after it began.

    .venv/bin/python docs/images/make.py

Needs Chromium; `$CHROME` can name one.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support import browser  # noqa: E402

SETTLE = "new Promise(done => setTimeout(() => done(true), {}))"
ASK = 'document.querySelector("#body tr:nth-child(4) .since").click()'


async def main() -> None:
    program = browser.find() or sys.exit("no Chromium found; set CHROME")
    command = (sys.executable, "-m", "bridge", "demo", "--port", "0", "--seed", "7")
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        address = await _address(demo)
        async with (
            browser.started(program) as chromium,
            browser.opened(chromium, address, width=1280, height=860) as page,
        ):
            await page.evaluate(SETTLE.format(14000))
            await page.evaluate(ASK)
            await page.evaluate(SETTLE.format(700))
            await page.screenshot(path=Path(__file__).with_name("inspector.png"))
    finally:
        demo.terminate()
        await demo.wait()


async def _address(demo: asyncio.subprocess.Process) -> str:
    assert demo.stdout is not None
    while line := (await demo.stdout.readline()).decode():
        if "Open http" in line:
            return line.split()[1]
    sys.exit("the demo did not start")


asyncio.run(main())
