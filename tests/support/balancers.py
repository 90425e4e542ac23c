"""HAProxy and nginx in front of bridges, with the configs of `deploy/` or another."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.demo.ports import free_port
from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

DEPLOY = Path(__file__).parents[2] / "deploy"
_SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
NGINX = shutil.which("nginx", path=_SEARCH)
HAPROXY = shutil.which("haproxy", path=_SEARCH)

# What the operating system's own file would have around it.
AROUND = """
daemon off; pid {prefix}/pid; error_log {prefix}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {prefix}/a; proxy_temp_path {prefix}/b; fastcgi_temp_path {prefix}/c;
    uwsgi_temp_path {prefix}/d; scgi_temp_path {prefix}/e;
    {inside}
}}
"""


@asynccontextmanager
async def nginx(prefix: Path, inside: str, port: int) -> AsyncIterator[str]:
    """nginx with this in its http block, which listens on `port`; its address."""
    config = prefix / "nginx.conf"
    config.write_text(AROUND.format(prefix=prefix, inside=inside))
    command = (str(NGINX), "-c", str(config), "-p", str(prefix))
    async with _running(command, {}, port, prefix / "nginx.log"):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def shipped_nginx(prefix: Path, bridges: Sequence[str]) -> AsyncIterator[str]:
    """`deploy/nginx.conf` with nothing changed but the addresses; `bridges` are host:port."""
    port = free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    ours = ["listen 0.0.0.0:8080", *(f"server 10.0.0.1{n}:8765" for n in (1, 2, 3))]
    theirs = [f"listen 127.0.0.1:{port}", *(f"server {bridge}" for bridge in bridges)]
    for old, new in zip(ours, theirs, strict=True):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    async with nginx(prefix, text, port) as address:
        yield address


@asynccontextmanager
async def shipped_haproxy(prefix: Path, bridges: Sequence[str]) -> AsyncIterator[str]:
    """`deploy/haproxy.cfg` as it is; `bridges` are host:port, two or three."""
    port = free_port()
    names = ("ROWCAST_LISTEN", "ROWCAST_A", "ROWCAST_B", "ROWCAST_C")[: 1 + len(bridges)]
    addresses = dict(zip(names, (f"127.0.0.1:{port}", *bridges), strict=True))
    command = (str(HAPROXY), "-db", "-f", str(DEPLOY / "haproxy.cfg"))
    async with _running(command, addresses, port, prefix / "haproxy.log"):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def _running(
    command: Sequence[str], environment: dict[str, str], port: int, log: Path
) -> AsyncIterator[None]:
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        await _listening(process, port, log)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None, f"{log} says why it ended"
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
