"""What tests of the JavaScript client need: Node, packages, and a bridge that Node can steer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bridge import config as configuration
from bridge import migrate
from tests.support import PATIENCE, connect, http, tokens, warm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "js"
NODE = shutil.which("node")
SERVED = "tests/support/served.py"

# What `npm install` put beside the client comes first, Debian's packages second.
PLACES = (CLIENT / "node_modules", Path("/usr/share/nodejs"))


def package(name: str) -> Path | None:
    """Where a package of this name is installed."""
    return next((place / name for place in PLACES if (place / name).is_dir()), None)


async def node(*arguments: str, **environment: str) -> str:
    """What Node prints; fails with it unless Node is content."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE,
        *arguments,
        cwd=CLIENT,
        env=os.environ | {"NODE_PATH": os.pathsep.join(map(str, PLACES))} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # tests run in children of it
    assert process.returncode == 0, out.decode()
    return out.decode()


async def with_websocket() -> dict[str, str]:
    """NODE_OPTIONS under which Node has a WebSocket, if it has one only when asked."""
    flag = "--experimental-websocket"
    asked = f"typeof WebSocket === 'undefined' && process.allowedNodeEnvironmentFlags.has('{flag}')"
    return {"NODE_OPTIONS": flag} if (await node("-p", asked)).strip() == "true" else {}


class Steered:
    """A bridge whose life another process decides on: `rowcast serve` in a directory."""

    def __init__(self, directory: Path, database: str) -> None:
        self._directory = directory
        self._database = database
        self._pid: int | None = None
        self.address = ""

    async def start(self, text: str | None = None) -> None:
        out = self._directory / "serving"
        out.unlink(missing_ok=True)
        environment = json.dumps({**os.environ, "DATABASE_URL": self._database})
        port = self.address.rpartition(":")[2] or "0"
        about = str(self._directory), str(out), port, environment
        self._pid = await warm.kept(SERVED).start(*about)
        await self._look(lambda: "serving on " in (out.read_text() if out.exists() else ""))
        self.address = out.read_text().partition("serving on ")[2].split()[0]
        await http.until(self.address, "/readyz", ready=True)

    async def kill(self, text: str | None = None) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            await self._look(lambda: not self._alive)
            self._pid = None

    async def _look(self, true: Callable[[], bool]) -> None:
        alive = self._alive
        async with asyncio.timeout(PATIENCE):
            while not true():
                assert self._alive == alive, "rowcast serve has ended; its error is on stderr"
                await asyncio.sleep(0.01)

    @property
    def _alive(self) -> bool:
        assert self._pid is not None
        return Path(f"/proc/{self._pid}").exists()

    async def token(self, text: str) -> str:
        """A token with these claims, in JSON; `seconds` is how long it lives."""
        claims = json.loads(text)
        return tokens.token(exp=time.time() + claims.pop("seconds"), **claims)

    async def sql(self, text: str) -> Any:
        return await asyncio.to_thread(self._sql, text)

    def _sql(self, text: str) -> Any:
        with connect(self._database) as connection:
            cursor = connection.execute(text.encode())
            return None if cursor.description is None else cursor.fetchall()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One JSON object a line: an action and its text; back comes its value or an error."""
        while line := await reader.readline():
            writer.write(json.dumps(await self._answer(json.loads(line))).encode() + b"\n")
        writer.close()

    async def _answer(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked["action"] == "address":
            return {"value": self.address}
        try:
            return {"value": await getattr(self, asked["action"])(asked.get("text"))}
        except (psycopg.Error, AssertionError) as error:
            return {"error": str(error)}


@asynccontextmanager
async def steered(directory: Path, database: str, config: str) -> AsyncIterator[Steered]:
    """A bridge with this config, migrated and served."""
    (directory / "config.yaml").write_text(config)
    environment = {**os.environ, "DATABASE_URL": database}
    read = configuration.load(directory / "config.yaml", env=environment)
    migrate.apply(read, progress=lambda _line: None)  # not in a thread: Alembic has globals
    bridge = Steered(directory, database)
    try:
        await bridge.start()
        yield bridge
    finally:
        await bridge.kill()


@asynccontextmanager
async def controlled(bridge: Steered) -> AsyncIterator[int]:
    """The port where it is steered."""
    async with await asyncio.start_server(bridge.serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def install(directory: Path, *packages: str) -> None:
    """A project with the client, as it would be packed, and those of the packages there are."""
    modules = directory / "node_modules"
    shutil.copytree(
        CLIENT, modules / "rowcast", ignore=shutil.ignore_patterns("node_modules", "test")
    )
    link(modules, *packages)
    (directory / "package.json").write_text('{"type": "module"}')


def link(modules: Path, *packages: str) -> None:
    """Those of the packages there are, for a project."""
    for name in packages:
        if (place := package(name)) is not None:
            (modules / name).parent.mkdir(exist_ok=True)
            (modules / name).symlink_to(place)


def compiled(directory: Path, *files: str) -> str:
    """What `tsc --strict` has against files of a project, which gets the client installed."""
    install(directory, "@types/react", "csstype")
    typescript = package("typescript")
    assert typescript is not None
    options = ["--strict", "--noEmit", "--preserveSymlinks", "--target", "es2022"]
    options += ["--lib", "es2022,dom", "--module", "node16", "--moduleResolution", "node16"]
    command = [str(NODE), str(typescript / "bin" / "tsc"), *options, *files]
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, text=True, check=False)
    # Debian's types of React refer to packages that it does not have.
    foreign = "node_modules/@types/"
    return "".join(line for line in done.stdout.splitlines(True) if not line.startswith(foreign))


_COMMONJS = """
const sources = {%s};
const process = {env: {NODE_ENV: "development"}};
const made = {};
function require(name) {
  if (!made[name]) {
    made[name] = {exports: {}};
    sources[name](made[name], made[name].exports);
  }
  return made[name].exports;
}
globalThis.required = require;
"""


def react() -> dict[str, str]:
    """React as modules that a browser can import without a build, by path."""
    files = {
        "react": _first("react", "cjs/react.development.js"),
        "scheduler": _first("scheduler", "cjs/scheduler.development.js"),
        "react-dom": _first("react-dom", "cjs/react-dom.development.js"),
        "react-dom/client": _first("react-dom", "cjs/react-dom-client.development.js", "client.js"),
    }
    sources = ",".join(
        f"{json.dumps(name)}: (module, exports) => {{{text}\n}}" for name, text in files.items()
    )
    return {
        "/commonjs.js": _COMMONJS.replace("%s", sources),
        "/react.js": _reexport("react", files["react"]),
        "/react-dom-client.js": _reexport("react-dom/client", files["react-dom/client"]),
    }


def _first(name: str, *files: str) -> str:
    place = package(name)
    assert place is not None, f"no package {name}"
    found = next(path for file in files if (path := place / file).exists())
    return found.read_text(encoding="utf-8")


def _reexport(name: str, text: str) -> str:
    names = sorted(set(re.findall(r"\bexports\.([A-Za-z]\w*) =", text)))
    lines = [f"export const {one} = found.{one};" for one in names]
    return "\n".join(['import "/commonjs.js";', f'const found = required("{name}");', *lines])
