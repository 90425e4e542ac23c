"""What a value of the file takes from outside: `${NAME}`, `${NAME:-default}`, `${file:PATH}`.

A path leads to what an orchestrator mounts for a secret (`/run/secrets/…`): the value is
the file's text, but for the line end that most of them put behind it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$\$\{|\$\{(?:(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?|file:([^{}]+))\})?"
)
_MOST = 1_000_000


class Filled(str):
    """A value from the environment: problems show `source`, the text before filling in."""

    __slots__ = ("source",)
    source: str


def fill(text: str, env: Mapping[str, str]) -> str:
    """Puts the environment into a value. Raises `ValueError` naming what is not there."""
    if "${" not in text:
        return text

    def variable(match: re.Match[str]) -> str:
        name, default, path = match.groups()
        if match[0] == "$${":
            return "${"
        if path is not None:
            return _content(path)
        if name is None:
            raise ValueError("has '${' without NAME and '}'; write ${NAME}, or $${ for the text")
        if value := env.get(name) or default:
            return value
        if name not in env and default is None:
            raise ValueError(
                f"{name} is not set in the environment; set it, or write ${{{name}:-default}}"
            )
        return ""

    filled = Filled(_VARIABLE.sub(variable, text))
    filled.source = text
    return filled


def _content(path: str) -> str:
    """A file's text without the line ends at its end, which editors and `echo` leave there."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST + 1)
        text = content.decode()
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ValueError(f"cannot read {path}: {reason}; name a file that can be read") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; name another file") from None
    if len(content) > _MOST:
        raise ValueError(f"{path} is over 1 MB, which no value is")
    return text.rstrip("\r\n")
