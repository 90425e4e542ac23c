"""A Dockerfile as its steps, and the paths that its context leaves out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pathspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class Step(NamedTuple):
    """One instruction; `text` is what follows its name, continued lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form's words."""
        found = json.loads(self.text)
        assert all(isinstance(word, str) for word in found)
        return list(found)


class Stage(NamedTuple):
    """From one FROM to the next."""

    base: str
    name: str
    steps: list[Step]

    def last(self, name: str) -> Step:
        """The instruction of this name that counts."""
        return [step for step in self.steps if step.name == name][-1]

    @property
    def environment(self) -> dict[str, str]:
        """All ENVs, as `NAME=value` each; a value may be quoted and is not filled in."""
        text = " ".join(step.text for step in self.steps if step.name == "ENV")
        return {n: v.strip('"') for n, v in re.findall(r'(\w+)=("[^"]*"|\S*)', text)}


def stages(text: str) -> list[Stage]:
    """What a Dockerfile says, in its order."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", " ", lines)
    found: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            found.append(Stage(base.strip(), alias.strip(), []))
        else:
            found[-1].steps.append(Step(name, rest.strip()))
    return found


def health_command(stage: Stage) -> list[str]:
    """The exec form of a HEALTHCHECK, behind its options."""
    return Step("CMD", stage.last("HEALTHCHECK").text.partition("CMD")[2].strip()).words


def context(ignore: str, files: Iterable[str]) -> list[str]:
    """Of the files of a repository, those that a .dockerignore lets through."""
    # As .gitignore's, but that each is meant from the top.
    anchored = re.sub(r"^(!?)(?=[^!*#\s]|\*(?!\*))/?", r"\1/", ignore, flags=re.MULTILINE)
    rules = pathspec.GitIgnoreSpec.from_lines(anchored.splitlines())
    return [file for file in files if not rules.match_file(file)]
