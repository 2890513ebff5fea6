"""Filters of event rules: compiled for the events of a recording, and put into the BPF programs before they are loaded.

A filter that needs contexts only is tested before any event is begun. One of a system call's arguments is tested where
they are known: in registers, and in what is collected from the task's memory, up to its first string. The payload of
tracepoints, and of scheduler events without text or sequences, is made first where there is a filter. What cannot be
tested in the kernel is left to the reading of the trace (``boxtrace view --filter``).
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from boxtrace.ctf.fields import IntegerField, Member, Scope, StringField, StructField
from boxtrace.ctf.model import EventClass
from boxtrace.errors import FilterError, UsageError
from boxtrace.filters import Filter
from boxtrace.filters.assembler import encode
from boxtrace.filters.binding import Binding, EventScopes, UnknownFieldError
from boxtrace.filters.compile import CompiledFilter, compile_filter
from boxtrace.filters.dispatch import dispatch
from boxtrace.filters.inputs import InputLayout, packed
from boxtrace.filters.unparse import unparse
from boxtrace.kernel.catalogue import Catalogue, SyscallEvents
from boxtrace.kernel.contexts import CONTEXTS, DEFAULT_CONTEXTS, ContextLayout
from boxtrace.kernel.patch import code_room, put_code
from boxtrace.kernel.rules import concerns
from boxtrace.kernel.selection import FilterRule
from boxtrace.kernel.syscalls.layout import EventLayout

__all__ = ["EventFilter", "FilterPlan", "Kind", "filter_room", "plan_filters", "put_filters"]

_REJECT: Final = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
_LIVE: Final = frozenset({"procname", "ppid"})
"""Those of the default contexts that the programs read afresh for each event."""
_STRING_ROOM: Final = 4096
_INSTRUCTION: Final = 8
"""Bytes of one."""
_OF_TASKS: Final = frozenset(
    f"BT_EV_SCHED_{name}"
    for name in ("SWITCH", "WAKING", "WAKEUP", "WAKEUP_NEW", "MIGRATE_TASK", "PROCESS_EXIT", "PROCESS_FREE")
)
"""Events whose payload is of whole words, ``struct task_payload``."""


class Kind(IntEnum):
    """What a filter is given beside contexts: ``enum bt_filter_kind``."""

    CONTEXTS = 1
    REGISTERS = 2
    COLLECTED = 3
    INTERVAL = 4
    TASKS = 5
    DRAFTED = 6


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What became of the filter of one event; ``compiled`` is None for one that is never recorded."""

    event: EventClass
    kind: Kind
    compiled: CompiledFilter | None
    precondition: CompiledFilter | None = None
    """Of a system call's filter: what it says of contexts that hold as long as the task keeps the CPU."""

    @property
    def code(self) -> bytes:
        """The instructions, encoded."""
        return _REJECT if self.compiled is None else encode(self.compiled.instructions)


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """The filters of a recording, for its programs.

    :param slots: by event id, what ``bt_filters.slot`` holds.
    :param asks: by event id, the number of its precondition, from 0 on.
    :param settled: ids of events whose precondition is all that the kernel tests.
    :param registers: ids of other events of whose filters the kernel tests registers, and contexts, only.
    :param live: whether contexts are tested that the programs read afresh for each event.
    :param code: the functions that the filters are, by kind.
    :param filters: what became of each event's.
    """

    slots: Mapping[int, int]
    asks: Mapping[int, int]
    settled: frozenset[int]
    registers: frozenset[int]
    live: bool
    code: Mapping[Kind, bytes]
    filters: tuple[EventFilter, ...]

    def postponed(self) -> Iterator[str]:
        """Yield what the kernel does not test, and why: a sentence each."""
        found: dict[str, list[str]] = {}
        for each in self.filters:
            for part in () if each.compiled is None else each.compiled.postponed:
                text = f"{unparse(part.node)} is not tested while recording ({part.reason}): use view --filter, too"
                found.setdefault(text, []).append(each.event.name)
        for text, names in found.items():
            yield f"filter of {names[0] if len(names) == 1 else f'{len(names)} events'}: {text}"


def _system_call_inputs(
    catalogue: Catalogue, contexts: Mapping[str, int], scratch: Mapping[str, int]
) -> dict[int, tuple[Kind, InputLayout]]:
    """Return what the filters of system calls are given, by event id."""
    inputs = {}
    for events in catalogue.syscalls:
        for number, layout in ((events.entry_id, events.entry), (events.exit_id, events.exit)):
            if number:
                inputs[number] = _system_call_input(events, layout, contexts, scratch)
    return inputs


def _system_call_input(
    events: SyscallEvents, layout: EventLayout, contexts: Mapping[str, int], scratch: Mapping[str, int]
) -> tuple[Kind, InputLayout]:
    first = scratch["argument"]
    registers = {
        argument.name: (first + 8 * index, argument.size) for index, argument in enumerate(events.call.arguments)
    }
    if layout is events.exit:
        registers["ret"] = (scratch["result"], 8)
    offsets: dict[str, int] = {}
    if not layout.simple:
        offsets = {name: scratch["payload"] + offset for name, offset in packed(layout.fields).items()}
    rooms = {name: _STRING_ROOM for name in offsets if isinstance(layout.fields.find(name), StringField)}
    for member in layout.fields.members:
        offset, size = registers.get(member.name, (0, 0))
        if isinstance(member.field, IntegerField) and member.field.size == size * 8:
            offsets[member.name] = offset
    return Kind.REGISTERS if layout.simple else Kind.COLLECTED, InputLayout(contexts, offsets, rooms)


def _payload_inputs(catalogue: Catalogue, contexts: Mapping[str, int]) -> dict[int, tuple[Kind, InputLayout]]:
    """Return what the filters of tracepoints and scheduler events are given, by event id."""
    tasks = {number for kind, number in catalogue.ids.items() if kind in _OF_TASKS}
    drafted = {chosen.id for chosen in catalogue.tracepoints}
    inputs = {}
    for event in catalogue.classes:
        if event.id not in tasks | drafted:
            continue
        offsets = packed(event.fields)
        texts = (name for name in offsets if event.fields and isinstance(event.fields.find(name), StringField))
        rooms = dict.fromkeys(texts, _STRING_ROOM)
        inputs[event.id] = Kind.TASKS if event.id in tasks else Kind.DRAFTED, InputLayout(contexts, offsets, rooms)
    return inputs


def plan_filters(
    catalogue: Catalogue,
    contexts: ContextLayout,
    rules: Sequence[FilterRule],
    scratch: Mapping[str, int],
    *,
    room: int,
    preconditions: int = 0,
) -> FilterPlan:
    """Compile the filters of all events that a rule is for. Other events are recorded as they come.

    An event that a rule's pattern matches, but that lacks a field which the expression needs, is never recorded. The
    state dump, and events that belong to others, are not filtered.

    :param scratch: offsets in ``struct bt_scratch``.
    :param room: how many instructions there is room for, for the filters of events of one kind.
    :param preconditions: how many different ones there may be; events beyond have none.
    :raises FilterError: for an expression that is none, or means nothing for any of its events.
    :raises UsageError: for a rule without events, an event with two rules, a context that is not recorded, and for more
        code than there is room for.
    """
    known = {name: offset for name, offset in contexts.offsets.items() if name in DEFAULT_CONTEXTS}
    lasting = {name: offset for name, offset in known.items() if name not in _LIVE}
    inputs = _system_call_inputs(catalogue, known, scratch)
    system_calls = frozenset(inputs)
    inputs |= _payload_inputs(catalogue, known)
    kernel_names = {each.id: f"{each.tracepoint.group}:{each.tracepoint.event}" for each in catalogue.tracepoints}
    found: dict[int, EventFilter] = {}
    used: set[str] = set()
    for rule in rules:
        wanted = Filter(rule.expression)
        events = [event for event in catalogue.classes if concerns(rule.events, event.name, kernel_names.get(event.id))]
        if not events:
            raise UsageError(f"no event that is recorded matches {rule.events!r}, which a filter is for")
        for event, binding in _bind(wanted, events):
            if event.id in found:
                raise UsageError(f"{event.name} has two filters, the second is {rule.expression!r}")
            kind, layout = inputs.get(event.id, (Kind.CONTEXTS, InputLayout(known)))
            if binding is not None:
                used |= _contexts(binding)
            compiled = None if binding is None else compile_filter(binding, layout)
            _check_room(0 if compiled is None else compiled.size, room)
            precondition = None
            if binding is not None and event.id in system_calls:
                precondition = compile_filter(binding, InputLayout(lasting))
            found[event.id] = EventFilter(event, kind, compiled, precondition)
    missing = sorted(used - contexts.offsets.keys())
    if missing:
        raise UsageError(f"a filter uses $ctx.{missing[0]}, which is not recorded", hint=f"--context {missing[0]}")
    plan = _plan(tuple(found.values()), system_calls, preconditions, live=not used.isdisjoint(_LIVE))
    _check_room(max((len(code) // _INSTRUCTION for code in plan.code.values()), default=0), room)
    return plan


def filter_room(image: bytes) -> int:
    """Return how many instructions an object file of the BPF programs has room for, for the filters of one kind."""
    return min(code_room(image, f"filter_code_{kind.name.lower()}") for kind in Kind)


def _check_room(size: int, room: int) -> None:
    if size > room:
        raise UsageError(
            f"the filters take {size} instructions, more than {room}",
            hint="a shorter expression or fewer events; boxtrace view --filter takes longer ones",
        )


def _bind(wanted: Filter, events: Iterable[EventClass]) -> Iterator[tuple[EventClass, Binding | None]]:
    """Yield what the filter means for each event, None for those for which it means nothing.

    One after the other: a long expression is refused when it is compiled for the first event, not after all.

    :raises FilterError: at the end, if it means nothing for any.
    """
    bound = False
    errors: list[FilterError] = []
    members = StructField(members=tuple(Member(name, field) for name, field in CONTEXTS.items()))
    for event in events:
        scopes = EventScopes(event.name, event.fields, ((Scope.EVENT_COMMON_CONTEXT, members),))
        binding = None
        try:
            binding = wanted.bind(scopes)
        except FilterError as error:
            errors.append(error)
        bound = bound or binding is not None
        yield event, binding
    if not bound:
        raise max(errors, key=lambda error: (not isinstance(error, UnknownFieldError), error.position))


def _contexts(binding: Binding) -> set[str]:
    return {str(field.path[0]) for field in binding.fields.values() if field.scope is not Scope.EVENT_PAYLOAD}


def _plan(
    filters: tuple[EventFilter, ...], system_calls: Container[int], preconditions: int, *, live: bool
) -> FilterPlan:
    bodies: dict[Kind, dict[bytes, int]] = {kind: {} for kind in Kind}
    slots = {}
    asks = {}
    settled = set()
    for each in filters:
        event, numbers, known = each.event.id, bodies[each.kind], bodies[Kind.INTERVAL]
        slots[event] = each.kind << 12 | numbers.setdefault(each.code, len(numbers) + 1)
        first = _precondition(each) if event in system_calls else None
        if first is not None and (first in known or len(known) < preconditions):
            asks[event] = known.setdefault(first, len(known) + 1) - 1
            if _is_precondition(each):
                settled.add(event)
    registers = {each.event.id for each in filters if each.kind is Kind.REGISTERS} - settled
    code = {kind: dispatch(list(numbers)) for kind, numbers in bodies.items() if numbers}
    return FilterPlan(slots, asks, frozenset(settled), frozenset(registers), live, code, filters)


def _precondition(each: EventFilter) -> bytes | None:
    """Return the code of an event's precondition; None if there is none."""
    if each.compiled is None:
        return _REJECT
    if each.precondition is None or each.precondition.verdict is True:
        return None
    return encode(each.precondition.instructions)


def _is_precondition(each: EventFilter) -> bool:
    """Tell whether the precondition is all that the kernel tests."""
    if each.compiled is None:
        return True
    return each.precondition is not None and each.precondition.node == each.compiled.node


def put_filters(image: bytes, plan: FilterPlan) -> bytes:
    """Return an object file of the BPF programs with the code of the filters in place of its placeholders.

    :raises UsageError: if there is more code than room.
    """
    return put_code(
        image, {f"filter_code_{kind.name.lower()}": code for kind, code in plan.code.items()}, "the filters"
    )
