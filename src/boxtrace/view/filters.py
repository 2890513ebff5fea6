"""Filters, explained: how they were understood, what the kernel tests by which instructions, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxtrace.ctf.fields import IntegerField
from boxtrace.filters import Filter
from boxtrace.filters.assembler import listing
from boxtrace.filters.binding import BoundField
from boxtrace.filters.unparse import unparse
from boxtrace.kernel.filters import EventFilter, FilterPlan

__all__ = ["explain_lines"]

_NAMES = 4


def explain_lines(wanted: Filter, plan: FilterPlan) -> Iterator[str]:
    """Yield lines: first what holds for all events, then each kind of code with the events that it is for."""
    yield f"Understood as  {unparse(wanted.root)}"
    groups: dict[tuple[object, ...], list[EventFilter]] = {}
    never: list[EventFilter] = []
    for each in plan.filters:
        if each.compiled is None:
            never.append(each)
        else:
            postponed = tuple(part.reason for part in each.compiled.postponed)
            types = tuple(_type(field) for field in each.compiled.binding.fields.values())
            groups.setdefault((each.kind, each.code, postponed, types), []).append(each)
    for group in groups.values():
        yield ""
        yield from _group(group)
    if never:
        yield ""
        yield f"Never recorded, for want of a field or its type: {_names(never)}"


def _group(events: Sequence[EventFilter]) -> Iterator[str]:
    compiled = events[0].compiled
    assert compiled is not None
    yield f"Events         {_names(events)}"
    for number, (node, field) in enumerate(compiled.binding.fields.items()):
        yield f"{'Fields' if number == 0 else '':<15}{node}: {_type(field)}"
    if compiled.verdict is None:
        yield f"In the kernel  {unparse(compiled.node)}"
    else:
        yield f"In the kernel  nothing is tested: every event is {'recorded' if compiled.verdict else 'rejected'}"
    for part in compiled.postponed:
        yield f"When reading   {unparse(part.node)} ({part.reason})"
    yield f"BPF            {compiled.size} instructions, at most {compiled.longest_path} of them executed"
    yield from (f"  {line}" for line in listing(compiled.instructions))


def _names(events: Sequence[EventFilter]) -> str:
    names = [each.event.name for each in events]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _type(bound: BoundField) -> str:
    field = bound.field
    if isinstance(field, IntegerField):
        enumeration = ", an enumeration" if field.mappings else ""
        return f"{'signed' if field.signed else 'unsigned'} integer of {field.size} bits{enumeration}"
    return bound.type.value
