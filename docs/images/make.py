"""Make inspector.png and inspector.webp, which moves: the demo's page in a real browser.

    .venv/bin/pip install pillow
    .venv/bin/python docs/images/make.py

Needs Chromium; `$CHROME` can name one.
"""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support import browser  # noqa: E402

if TYPE_CHECKING:
    from playwright.async_api import Page

FRAMES, PACE = 24, 0.3  # pictures, and seconds between two
ASKED = 14  # the picture before which somebody asks what became of a row
ASK = 'document.querySelector("#body tr:nth-child(4) .since").click()'


async def main() -> None:
    program = browser.find() or sys.exit("no Chromium found; set CHROME")
    command = (sys.executable, "-m", "bridge", "demo", "--port", "0", "--seed", "7")
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        address = await _address(demo)
        async with (
            browser.started(program) as chromium,
            browser.opened(chromium, address, width=1180, height=760) as page,
        ):
            await asyncio.sleep(10)
            frames = await _recorded(page)
    finally:
        demo.terminate()
        await demo.wait()
    first, *others = frames
    images = Path(__file__).parent
    frames[-1].save(images / "inspector.png", optimize=True)
    first.save(
        images / "inspector.webp",
        save_all=True, append_images=others, duration=round(PACE * 1000), loop=0,
        quality=50, method=5,
    )  # fmt: skip


async def _address(demo: asyncio.subprocess.Process) -> str:
    assert demo.stdout is not None
    while line := (await demo.stdout.readline()).decode():
        if "Open http" in line:
            return line.split()[1]
    sys.exit("the demo did not start")


async def _recorded(page: Page) -> list[Image.Image]:
    frames = []
    for number in range(FRAMES):
        if number == ASKED:
            await page.evaluate(ASK)
        shot, _ = await asyncio.gather(page.screenshot(), asyncio.sleep(PACE))
        frames.append(Image.open(io.BytesIO(shot)).convert("RGB"))
    return frames


asyncio.run(main())
