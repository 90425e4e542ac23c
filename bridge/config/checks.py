"""What single values cannot show: that they contradict each other.

These look at the data as it was read and pass over what is invalid by itself, so that
one run reports both kinds. A finding is (path, message).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from bridge.config import (
    EVENTS,
    TableConfig,
    auth_checks,
    dotted,
    links,
    logs,
    quantities,
    values,
)
from bridge.config.events import TOPICS
from bridge.topics import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.config.source import Data, Path, Source

Finding: TypeAlias = "tuple[Path, str]"
Shape: TypeAlias = "tuple[str | None, ...]"
Entry: TypeAlias = "Mapping[str, Data]"
T = TypeVar("T")

_PAIRS = ("table", "document")
"""Keys whose list is [schema, name], which may be the same word."""


def findings(source: Source) -> Iterator[Finding]:
    """Everything that is wrong between the values of a file."""
    yield from _waits(source.data, {}, ())
    yield from _needed(source)
    for name, entry in _tables(source.data):
        path = ("tables", name)
        if "debounce" in entry or "max_wait" in entry:
            yield from _waits(entry, source.data, path)
        if "columns" in entry and "exclude" in entry:
            yield (*path, "exclude"), "is pointless beside columns; keep one of the two"
        if "table" not in entry:
            yield from _implied_table(name, path)
    yield from links.findings(dict(_tables(source.data)))
    yield from auth_checks.findings(source.data)
    yield from logs.findings(dict(_tables(source.data)))
    yield from _repeats(source.data, ())
    yield from _shapes(source)


def _tables(data: Entry) -> Iterator[tuple[str, Entry]]:
    tables = data.get("tables")
    for name, entry in tables.items() if isinstance(tables, dict) else ():
        yield name, entry if isinstance(entry, dict) else {}


def _needed(source: Source) -> Iterator[Finding]:
    """At least one table, or events, whose public name is taken then."""
    tables, published = source.data.get("tables", {}), _published(source.data)
    if not published and not tables:
        how = "empty" if "tables" in source.data else "missing"
        yield ("tables",), f"is {how}; name at least one table"
    if published and isinstance(tables, dict) and EVENTS in tables:
        yield (
            ("tables", EVENTS),
            f"is the public name of what is published by `events: true` ({_where(source)});"
            f" give this table another one, with `table: {EVENTS}`",
        )


def _published(data: Entry) -> bool:
    return "events" in data and _attempt(values.flag, data["events"]) is True


def _where(source: Source, path: Path = ("events",)) -> str:
    line, column = source.places[path]
    return f"{source.file}:{line}:{column}"


def _attempt(read: Callable[[Data], T], value: Data) -> T | None:
    try:
        return read(value)
    except ValueError:
        return None


def _waits(entry: Entry, around: Entry, path: Path) -> Iterator[Finding]:
    debounce = _seconds("debounce", entry, around)
    max_wait = _seconds("max_wait", entry, around)
    if debounce is None or max_wait is None or debounce <= max_wait:
        return
    at = "max_wait" if "max_wait" in entry else "debounce"
    longer, shorter = quantities.as_duration(debounce), quantities.as_duration(max_wait)
    yield (
        (*path, at),
        f"max_wait is {shorter}{_whose('max_wait', entry, around)}, shorter than debounce,"
        f" {longer}{_whose('debounce', entry, around)}; raise max_wait",
    )


def _seconds(key: str, entry: Entry, around: Entry) -> float | None:
    for data in (entry, around):
        if key in data:
            return _attempt(quantities.duration, data[key])
    default: float = getattr(TableConfig, key)
    return default


def _whose(key: str, entry: Entry, around: Entry) -> str:
    if key in entry:
        return ""
    return " (the file's)" if key in around else " (the default)"


def _implied_table(name: str, path: Path) -> Iterator[Finding]:
    """A public name alone is read as `table` would be, so a dotted one has its schema."""
    if _attempt(values.public_name, name) is None:
        return
    try:
        values.relation(name)
    except ValueError as error:
        yield path, f"the public name as table: {error}; or say which in `table`"


def _repeats(data: Data, path: Path) -> Iterator[Finding]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _repeats(value, (*path, key))
    elif isinstance(data, list) and path[-1] not in _PAIRS:
        seen: set[str] = set()
        for index, item in enumerate(data):
            if isinstance(item, str) and item in seen:
                yield (*path, index), f"{values.shown(item)} is in the list twice; keep one"
            seen.update({item} if isinstance(item, str) else ())


def _shapes(source: Source) -> Iterator[Finding]:
    """Two templates of one shape would make topics that cannot be told apart."""
    seen: dict[Shape, Path] = {}
    if published := _published(source.data):
        seen = dict.fromkeys((template.shape for template in TOPICS), ("events",))
    for name, entry in _tables(source.data):
        if published and name == EVENTS:
            continue  # which is reported as just that
        for path, shape in _templates(name, entry):
            if (other := seen.setdefault(shape, path)) == path or _repeated(source, path, other):
                continue
            yield (
                path,
                f"makes the same topics as {dotted(other)} ({_where(source, other)});"
                " change a literal segment of one",
            )


def _templates(name: str, entry: Entry) -> Iterator[tuple[Path, Shape]]:
    path: Path = ("tables", name)
    if "topics" in entry:
        topics = entry["topics"]
        for index, topic in enumerate(topics if isinstance(topics, list) else ()):
            if template := _attempt(values.template, topic):
                yield (*path, "topics", index), template.shape
        return
    if not links.served(entry):
        return
    if _attempt(values.public_name, name):
        yield path, (encode(name),)
        if isinstance(key := entry.get("key"), list):
            yield (*path, "key"), (encode(name), *[None] * len(key))


def _repeated(source: Source, path: Path, other: Path) -> bool:
    """Whether the same text is in the same list, which is reported as just that."""
    return path[:-1] == other[:-1] and _at(source.data, path) == _at(source.data, other)


def _at(data: Data, path: Path) -> object:
    found: object = data
    for step in path:
        found = found[step]  # type: ignore[index]
    return found
