"""The filters of a recording as a whole, before they become programs."""

from __future__ import annotations

import pytest

from boxtrace.ctf.fields import StructField
from boxtrace.ctf.model import EventClass
from boxtrace.errors import UsageError
from boxtrace.kernel import filters
from boxtrace.kernel.catalogue import Catalogue
from boxtrace.kernel.contexts import DEFAULT_CONTEXTS, context_layout
from boxtrace.kernel.selection import FilterRule

CATALOGUE = Catalogue(
    tuple(EventClass(id=number, name=f"event_{number}", fields=StructField(members=())) for number in range(1, 50)),
    {},
    (),
    frozenset(),
)
SCRATCH = {"argument": 0, "result": 64, "payload": 88}
LONG = " || ".join(f"$ctx.tid == {number * 7919}" for number in range(200))


def test_what_has_no_room_is_refused_when_it_is_compiled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each of the events that there are, which can take a minute."""
    compiled: list[object] = []

    def compile_filter(*arguments: object, **named: object) -> object:
        compiled.append(arguments)
        return original(*arguments, **named)  # type: ignore[arg-type]

    original = filters.compile_filter
    monkeypatch.setattr(filters, "compile_filter", compile_filter)
    contexts = context_layout(DEFAULT_CONTEXTS)
    with pytest.raises(UsageError, match=r"the filters take \d+ instructions, more than 100") as failed:
        filters.plan_filters(CATALOGUE, contexts, [FilterRule("*", LONG)], SCRATCH, room=100)
    assert failed.value.hint is not None and "fewer events" in failed.value.hint
    assert len(compiled) == 1
    plan = filters.plan_filters(CATALOGUE, contexts, [FilterRule("*", LONG)], SCRATCH, room=1000)
    assert len(plan.slots) == len(CATALOGUE.classes)


def test_what_several_filters_take_together_must_have_room() -> None:
    contexts = context_layout(DEFAULT_CONTEXTS)
    rules = [FilterRule(f"event_{number}", f"$ctx.tid == {number}") for number in range(1, 40)]
    filters.plan_filters(CATALOGUE, contexts, rules[:2], SCRATCH, room=100)
    with pytest.raises(UsageError, match=r"the filters take \d+ instructions, more than 100"):
        filters.plan_filters(CATALOGUE, contexts, rules, SCRATCH, room=100)
