"""Which topics hear of a change, by cases and against a model of sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes import Dirty, Effect, Old, State
from bridge.membership import effects
from bridge.topics import Template

FIELDS = ("id", "customer")
WHOLE, KEYED, ROUTED = map(Template.parse, ["orders", "orders/{id}", "by/{customer}"])
INSERT, UPDATE, DELETE = Effect


def told_of(
    template: Template, fields: tuple[str, ...], change: Dirty, now: State
) -> list[tuple[str, Effect]]:
    """The effects, by the names of the topics."""
    names = []
    for place, effect in effects(template.places(fields), change, now):
        name = template.topic(dict(zip(template.columns, place, strict=True)))
        assert name is not None
        names.append((name, effect))
    return names


def dirty(existed: bool, *olds: str | None) -> Dirty:
    return Dirty(("1",), existed, frozenset((old,) for old in olds))


def state(customer: str | None) -> State:
    return State(("1",), ("1", customer), '{"id":1}', "{}", "v")


GONE = State(("1",), ("1",), '{"id":1}', None, "v")


@pytest.mark.parametrize(
    ("change", "now", "routed", "keyed"),
    [
        pytest.param(dirty(False), state("a"), {"a": INSERT}, INSERT, id="insert"),
        pytest.param(dirty(True), state("a"), {"a": UPDATE}, UPDATE, id="update"),
        pytest.param(dirty(True, "a"), GONE, {"a": DELETE}, DELETE, id="delete"),
        pytest.param(dirty(True, "a"), state("b"), {"a": DELETE, "b": INSERT}, UPDATE, id="a to b"),
        pytest.param(
            dirty(True, "a", "b"),
            state("a"),
            {"b": DELETE, "a": UPDATE},
            UPDATE,
            id="there and back",
        ),
        pytest.param(
            dirty(True, "a", "b"),
            state("c"),
            {"a": DELETE, "b": DELETE, "c": INSERT},
            UPDATE,
            id="a to b to c",
        ),
        pytest.param(
            dirty(True, "a", "b"),
            GONE,
            {"a": DELETE, "b": DELETE},
            DELETE,
            id="deleted after a move",
        ),
        pytest.param(
            dirty(False, "a"), state("b"), {"a": DELETE, "b": INSERT}, INSERT, id="new, then moved"
        ),
        pytest.param(
            dirty(False, "a", "b"),
            state("a"),
            {"b": DELETE, "a": INSERT},
            INSERT,
            id="new, and back",
        ),
        pytest.param(dirty(False, "a"), GONE, {"a": DELETE}, DELETE, id="new, then deleted"),
        pytest.param(
            dirty(True, "a"), state("a"), {"a": UPDATE}, UPDATE, id="deleted and written again"
        ),
        pytest.param(dirty(True, None), state("b"), {"b": INSERT}, UPDATE, id="from NULL"),
        pytest.param(dirty(True, "a"), state(None), {"a": DELETE}, UPDATE, id="to NULL"),
        pytest.param(dirty(True), state(None), {}, UPDATE, id="NULL stays NULL"),
        pytest.param(dirty(True, None), GONE, {}, DELETE, id="deleted where it was NULL"),
        pytest.param(dirty(True), GONE, {}, DELETE, id="deleted, and that is still to be heard"),
        pytest.param(dirty(False), GONE, {}, DELETE, id="new, deleted, still to be heard"),
        pytest.param(dirty(True, "a"), GONE, {"a": DELETE}, DELETE, id="moved; the delete to come"),
    ],
)
def test_cases(change: Dirty, now: State, routed: dict[str, Effect], keyed: Effect) -> None:
    told = told_of(ROUTED, FIELDS, change, now)
    assert dict(told) == {f"by/{name}": effect for name, effect in routed.items()}
    assert len(told) == len(routed), "told twice"
    assert told_of(KEYED, FIELDS, change, now) == [("orders/1", keyed)]
    assert told_of(WHOLE, FIELDS, change, now) == [("orders", keyed)]


def test_a_table_without_routing_needs_no_old_values() -> None:
    gone = State(("1",), ("1",), '{"id":1}', None, "v")
    for template, topic in [(WHOLE, "orders"), (KEYED, "orders/1")]:
        told = told_of(template, ("id",), Dirty(("1",), False), gone)
        assert told == [(topic, DELETE)]


@dataclass
class Window:
    """One row's writes between two reads, coalesced as the pipeline does it."""

    customer: str | None
    exists: bool
    existed: bool | None = None
    old: set[Old] = field(default_factory=set)

    def write(self, customer: str | None, exists: bool) -> None:
        if not self.exists and not exists:
            return
        if self.existed is None:
            self.existed = self.exists
        if self.exists and (not exists or customer != self.customer):
            self.old.add((self.customer,))
        self.customer, self.exists = customer, exists


customers = st.sampled_from(["a", "b", "c", None])
placed = st.tuples(customers, st.booleans())


@given(placed, st.lists(placed, min_size=1, max_size=6))
def test_effects_turn_the_sets_before_into_the_sets_after(
    before: tuple[str | None, bool], writes: list[tuple[str | None, bool]]
) -> None:
    row = Window(*before)
    held = sets(row)
    for write in writes:
        row.write(*write)
    if row.existed is None:
        return
    now = state(row.customer) if row.exists else GONE
    change = Dirty(("1",), row.existed, frozenset(row.old))
    for template in (WHOLE, KEYED, ROUTED):
        for topic, effect in told_of(template, FIELDS, change, now):
            visited = topic in held or topic in {f"by/{old[0]}" for old in row.old}
            assert visited or effect is not UPDATE, "an update of what was never there"
            assert topic not in held or effect is not INSERT, "an insert over a row"
            (held.discard if effect is DELETE else held.add)(topic)
    assert held == sets(row)


def sets(row: Window) -> set[str]:
    values = {"id": "1", "customer": row.customer}
    topics = {template.topic(values) for template in (WHOLE, KEYED, ROUTED)}
    return {topic for topic in topics if topic is not None and row.exists}
