"""LTTng's kernel tracer and boxtrace record the same program on the same kernel: the same events, fields and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import boxtrace
from boxtrace.ctf.fields import ArrayField, FieldClass, IntegerField, SequenceField, StructField
from boxtrace.ctf.model import EventClass
from boxtrace.trace import Event, Trace
from support.lttng_compared import CONTEXTS, record_both

MARK = -20260101

ONLY_LTTNG = {
    "syscall_entry_setns": {"nstype"},  # LTTng shows the flags as an enumeration of its own
    "syscall_entry_vmsplice": {"iov"},  # ours is the sequence of what it points to
    "syscall_exit_writev": {"vec"},  # an input: ours is at the entry, with what it points to
    "syscall_exit_lookup_dcookie": {"buf"},  # ours is at the entry, as of all buffers
    "skb_kfree": {"reason"},  # LTTng has the labels of the kernel it was written for, ours are this kernel's
}
"""Fields of LTTng that are another in our event."""
UNLIKE = {"syscall_exit_fork": {"ret"}, "syscall_exit_wait4": {"ret"}}
"""Values that are not the same each time: process ids."""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Trace]:
    """What LTTng recorded, and what boxtrace did."""
    result = record_both(tmp_path_factory.mktemp("both"))
    assert result.status == 0, result.log
    return boxtrace.open(result.files / "lttng"), boxtrace.open(result.files / "boxtrace")


def classes(trace: Trace) -> dict[str, EventClass]:
    """Return the types of event that a trace may have."""
    return {event.name: event for stream in trace.streams for event in stream.cls.events}


def plain(field: FieldClass) -> FieldClass:
    """Return a field without the alignment of bit-fields, which begin at a byte in both."""
    match field:
        case StructField():
            return StructField(members=tuple(type(m)(m.name, plain(m.field)) for m in field.members))
        case SequenceField():
            return SequenceField(element=plain(field.element), length=field.length)
        case ArrayField():
            return ArrayField(element=plain(field.element), length=field.length)
        case IntegerField():
            return IntegerField(
                size=field.size,
                signed=field.signed,
                base=field.base,
                byte_order=field.byte_order,
                mappings=field.mappings,
            )
    return field


def fields(event: EventClass) -> list[tuple[str, FieldClass]]:
    return [(member.name, plain(member.field)) for member in event.fields.members] if event.fields else []


def test_every_type_has_the_fields_of_lttng(traces: tuple[Trace, Trace]) -> None:
    """In the same order and of the same types; ours may have more between them."""
    theirs, ours = map(classes, traces)
    both = sorted(theirs.keys() & ours.keys())
    assert len(both) > 600
    unlike: dict[str, set[str]] = {}
    for name in both:
        rest = iter(fields(ours[name]))
        missing = {field for field, cls in fields(theirs[name]) if (field, cls) not in fields(ours[name])}
        wanted = [(field, cls) for field, cls in fields(theirs[name]) if field not in missing]
        assert all(any(item == field for item in rest) for field in wanted), name
        if missing:
            unlike[name] = missing
    assert unlike == ONLY_LTTNG


def calls(trace: Trace) -> Iterator[Event]:
    """The system calls of the program between its marks."""
    tid = None
    for event in trace.events():
        if event.name == "syscall_entry_getpgid" and event["pid"] == MARK:
            if tid is not None:
                return
            tid = event.context["tid"]
        elif tid is not None and event.context["tid"] == tid and event.name.startswith("syscall_"):
            yield event


def known(events: Iterator[Event]) -> list[tuple[str, Event]]:
    """With LTTng's name for what it has none for, the call of the program that no kernel knows left out.

    LTTng has no ``fork`` in its table for x86-64, and no event of a number that is beyond the kernel's table.
    """
    named = [(event.name.replace("_fork", "_unknown"), event) for event in events]
    return [(name, event) for name, event in named if not (name.endswith("_unknown") and event.get("id") == 400000)]


def test_every_call_has_the_values_of_lttng(traces: tuple[Trace, Trace]) -> None:
    theirs, ours = (known(calls(trace)) for trace in traces)
    payloads = {name: [field for field, _ in fields(event)] for name, event in classes(traces[0]).items()}
    assert [name for name, _ in theirs] == [name for name, _ in ours] and len(theirs) > 100
    for (name, one), (_, other) in zip(theirs, ours, strict=True):
        left_out = ONLY_LTTNG.get(name, set()) | UNLIKE.get(other.name, set())
        values: list[dict[str, Any]] = [
            {field: event[field] for field in payloads[name] if field in event and field not in left_out}
            for event in (one, other)
        ]
        if not name.endswith("_unknown"):
            assert values[0] == values[1], name
        for context in CONTEXTS:
            assert (context in one.context) == (context in other.context)
        assert one.context["procname"] == other.context["procname"]


def test_scheduler_events_tell_of_the_same_processes(traces: tuple[Trace, Trace]) -> None:
    lives = []
    for trace in traces:
        (tid,) = {event.context["tid"] for event in calls(trace)}
        names = [
            (event.name, event["child_comm"] if "child_comm" in event else event.get("comm", ""))
            for event in trace.events()
            if event.name in ("sched_process_fork", "sched_process_exit", "sched_process_wait")
            and tid in (event.get("parent_tid"), event.get("tid"))
        ]
        lives.append(names)
    assert lives[0] == lives[1] and len(lives[0]) >= 2
