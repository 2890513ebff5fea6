"""What could be recorded on this machine: events with their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from boxtrace.ctf.fields import Member, StructField
from boxtrace.errors import UsageError
from boxtrace.kernel.births import BIRTHS
from boxtrace.kernel.catalogue import SCHED
from boxtrace.kernel.machine import machine_syscalls, machine_tracepoints
from boxtrace.kernel.statedump.events import CONTAINER_NUMBER, STATE_DUMP, VM_MAP
from boxtrace.kernel.structures import kernel_structure
from boxtrace.kernel.syscalls import Syscall
from boxtrace.kernel.syscalls.layout import LayoutOptions, syscall_layouts

__all__ = ["ListedEvent", "list_events", "list_syscalls"]


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An event that can be recorded.

    :param name: by which it is asked for.
    :param source: the kernel's tracepoint (``GROUP:EVENT``), None for events of the state dump.
    :param fields: of its payload.
    :param lttng: whether LTTng has it, too.
    :param missing: LTTng's fields that it does not have; None when its fields are the kernel's rather than LTTng's.
    """

    name: str
    source: str | None
    fields: tuple[Member, ...]
    lttng: bool
    missing: tuple[str, ...] | None


def list_events(pattern: str = "*") -> list[ListedEvent]:
    """Return the events whose name, or tracepoint, matches a shell pattern; without system calls.

    :raises UsageError: if there is none.
    :raises CapabilityError: if the kernel does not describe its tracepoints to this user.
    """
    found = []
    for event in SCHED:
        if _matches(pattern, event.name, event.source):
            found.append(ListedEvent(event.name, event.source, event.fields.members, True, ()))
    for event in BIRTHS:
        if _matches(pattern, event.name, event.source):
            found.append(ListedEvent(event.name, event.source or None, event.fields.members, False, None))
    tracepoints = machine_tracepoints()
    for name in tracepoints.names:
        if _matches(pattern, name.name, name.kernel_name):
            described = tracepoints.describe(name)
            members = described.layout.members
            found.append(ListedEvent(name.name, name.kernel_name, members, described.lttng, described.missing))
    for event in (*STATE_DUMP, VM_MAP, CONTAINER_NUMBER):
        if _matches(pattern, event.name):
            found.append(ListedEvent(event.name, None, event.fields.members, True, ()))
    return _some(found, pattern)


def list_syscalls(warn: Callable[[str], None], pattern: str = "*") -> list[ListedEvent]:
    """Return the events of the system calls of 64-bit programs whose name, or call, matches a shell pattern.

    :param warn: told when the running kernel's own descriptions cannot be read.
    :raises UsageError: if there is none.
    """
    native, _ = machine_syscalls(warn)
    found = [
        ListedEvent(name, f"raw_syscalls:{source}", fields.members, True, ())
        for call in native.values()
        for name, source, fields in _syscall_events(call)
        if _matches(pattern, name, call.name)
    ]
    return _some(found, pattern)


def _syscall_events(call: Syscall) -> Iterator[tuple[str, str, StructField]]:
    entry, exit_ = syscall_layouts(call, LayoutOptions(structs=kernel_structure))
    yield f"syscall_entry_{call.name}", "sys_enter", entry.fields
    yield f"syscall_exit_{call.name}", "sys_exit", exit_.fields


def _matches(pattern: str, *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names if ":" in pattern or ":" not in name)


def _some(found: Iterable[ListedEvent], pattern: str) -> list[ListedEvent]:
    events = sorted(found, key=lambda event: event.name)
    if not events:
        raise UsageError(f"no event matches {pattern!r}", hint="patterns are a shell's: 'irq_*', 'block:*'")
    return events
