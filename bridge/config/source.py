"""YAML text → plain data in which every value knows its place.

YAML guesses types; this reader does not. What YAML takes for text is `str`, and every
other scalar stays a `Scalar`: the text as written, and what YAML makes of it. Only the
model knows what was expected, so only there is `no` told apart from "no". What
cannot be meant is refused here: duplicate keys, keys that are not text, anchors and
aliases (271 bytes of them expand to millions of values), tags, a second document.

`${NAME}`, `${NAME:-default}` and `${file:PATH}` are filled in last, in values and not in
keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from bridge.config import dotted
from bridge.config.filling import Filled as Filled
from bridge.config.filling import fill
from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as File

    from bridge.config import Place, Step

Path: TypeAlias = "tuple[Step, ...]"

MAX_SIZE = 1_000_000
MAX_DEPTH = 20
_TAG = "tag:yaml.org,2002:"
_UNSTORABLE = "has a NUL or half a character in it, which PostgreSQL cannot hold; remove it"
_KINDS = {"bool": "a boolean", "int": "a number", "float": "a number", "timestamp": "a date"}


class Scalar(NamedTuple):
    """A value that YAML does not take for text; `kind` is its tag: `bool`, `int`, `null`…"""

    text: str
    kind: str

    @property
    def reading(self) -> str:
        """What YAML takes it for, in words."""
        return _KINDS.get(self.kind, "something other than text")


class Refused:
    """Stands where a problem has already been reported."""


REFUSED = Refused()
Data: TypeAlias = "str | Scalar | Refused | list[Data] | dict[str, Data]"


def text_of(path: File) -> str:
    """A config file's text. Raises `ConfigError` where there is none to read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
        return content.decode("utf-8-sig") if len(content) <= MAX_SIZE else _too_large(str(path))
    except OSError as error:
        reason = error.strerror or "unreadable"
        message = f"cannot read {path}: {reason}; name the config with --config FILE"
        raise ConfigError([Problem("", message)]) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise ConfigError(
            [Problem("", "is not UTF-8; save the file as UTF-8", str(path), line, column)]
        ) from None


def _too_large(file: str) -> str:
    raise ConfigError([Problem("", "is over 1 MB, which no config is", file, 1, 1)])


@dataclass
class Source:
    """A file in the making of a config: its data, where everything is, what is wrong so far.

    `places` has each value's place: a scalar's and a list item's own, and for a mapping,
    a list or nothing at all that of its key. `keys` has the keys' places.
    """

    file: str
    env: Mapping[str, str]
    data: dict[str, Data] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, message: str, path: Path, place: Place | None = None) -> None:
        """Notes a problem, at `place` or else where the value at `path` is."""
        around = path
        while around and around not in self.places:
            around = around[:-1]
        line, column = place or self.places.get(around, (1, 1))
        self.problems.append(Problem(dotted(path), message, self.file, line, column))

    def error(self) -> ConfigError:
        """Everything noted so far, in the order of the file."""
        return ConfigError(sorted(self.problems, key=lambda found: (found.line, found.column)))

    def value(self, node: yaml.Node, path: Path) -> Data:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        kind = node.tag.removeprefix(_TAG)
        if kind == "alias":
            return REFUSED
        return self._text(node.value, path) if kind == "str" else Scalar(node.value, kind)

    def _item(self, node: yaml.Node, path: Path) -> Data:
        self.places[path] = _place(node.start_mark)
        return self.value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Data:
        found: dict[str, Data] = {}
        for key, value in node.value:
            if (name := self._key(key, path)) is None:
                continue
            here, place = (*path, name), _place(key.start_mark)
            if name in found:
                first = self.keys[here][0]
                self.complain(f"is here twice, first in line {first}; keep one", here, place)
                continue
            self.keys[here] = place
            self.places[here] = _place(value.start_mark) if _visible(value) else place
            found[name] = self.value(value, here)
        return found

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str" and not _unstorable(node.value):
            return str(node.value)
        if kind == "str":
            message = _UNSTORABLE
        elif not isinstance(node, yaml.ScalarNode):
            message = "a key must be text; quote what starts with '{' or '['"
        elif kind == "merge":
            message = "YAML's merge key '<<' is not read here; write the keys out"
        else:
            said = _KINDS.get(kind, "nothing")
            message = f"the key {node.value} is {said} to YAML; quote it: '{node.value}'"
        if kind != "alias":
            self.complain(message, path, _place(node.start_mark))
        return None

    def _text(self, text: str, path: Path) -> str | Refused:
        try:
            filled = fill(text, self.env)
        except ValueError as error:
            self.complain(str(error), path)
            return REFUSED
        if _unstorable(filled):
            self.complain(_UNSTORABLE, path)
            return REFUSED
        return filled


def parse(text: str, file: str, env: Mapping[str, str]) -> Source:
    """Reads YAML. Raises `ConfigError` only where nothing after it can be made sense of."""
    if len(text) > MAX_SIZE:
        _too_large(file)
    source = Source(file, env)
    root = _compose(text, source)
    if root is None or root.tag == _TAG + "null":
        source.complain("is empty; config.example.yaml shows what goes in", ())
        raise source.error()
    source.places[()] = _place(root.start_mark)
    data = source.value(root, ())
    if not isinstance(data, dict):
        source.complain("must be a mapping at the top, `key: value` on each line", ())
        raise source.error()
    source.data = data
    return source


class _Composer(yaml.SafeLoader):
    """Builds nodes without following what YAML can refer to: aliases, anchors and tags."""

    def __init__(self, text: str, source: Source) -> None:
        self.source = source
        self.depth = 0
        super().__init__(text)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self._refuse(event, f"the alias *{event.anchor} is not read here; write it out")
            mark: Any = event.start_mark  # its stub also allows for the C parser's marks
            return yaml.ScalarNode(_TAG + "alias", "", mark, mark)
        if event.anchor is not None:
            self._refuse(event, f"the anchor &{event.anchor} is not read here; remove it")
            event.anchor = None
        if getattr(event, "tag", None) is not None:
            self._refuse(event, f"the tag {event.tag} is not read here; remove it")
            event.tag = None
        return self._deeper(event, parent, index)

    def _deeper(self, event: yaml.Event, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth == MAX_DEPTH:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=f"over {MAX_DEPTH} levels deep", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, event: yaml.Event, message: str) -> None:
        self.source.complain(message, (), _place(event.start_mark))


def _compose(text: str, source: Source) -> yaml.Node | None:
    composer = None
    try:
        composer = _Composer(text, source)
        return composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        place, message = _place(error.problem_mark or error.context_mark), _syntax(error)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"a control character (U+{ord(text[error.position]):04X}); remove it"
    except (ValueError, OverflowError):  # PyYAML on "\Uffffffff", which no character has
        place = _place(composer.get_mark()) if composer else (1, 1)
        message = "not YAML: an escape or a number that no text can hold"
    source.complain(message, (), place)
    raise source.error()


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "broken off"
    if "'\\t'" in problem:
        return "a tab; YAML indents with spaces"
    if problem == "but found another document":
        return "a second document; one file is one document, so remove this '---'"
    if problem == "mapping values are not allowed here":
        return "not YAML: a second ': ' in one line; quote the value that holds it"
    if problem.endswith(("got '{'", "got '}'", "cannot start any token")):
        return f"not YAML: {problem}; quote text with special characters in it"
    since = f" ({error.context}, line {error.context_mark.line + 1})" if error.context_mark else ""
    return f"not YAML: {problem}{since}"


def _unstorable(text: str) -> bool:
    return any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def _visible(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag != _TAG + "null"


def _place(mark: yaml.error.Mark | yaml._yaml.Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
