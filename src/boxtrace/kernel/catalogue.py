"""The events that can be recorded from the running kernel, each declared once.

System calls come from the system call tables and the kernel's own descriptions; scheduler and state dump events are
declared here with LTTng's names, fields and types (lttng-modules 2.13). Metadata, numbers and program tables all follow
from this catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from boxtrace.ctf.fields import (
    ArrayField,
    FieldLocation,
    Member,
    Scope,
    SequenceField,
    StringField,
    StructField,
)
from boxtrace.ctf.model import EventClass
from boxtrace.errors import UsageError
from boxtrace.kernel.births import BIRTHS
from boxtrace.kernel.event_type import COMM, I32, I64, U8, U32, U64, EventType, payload
from boxtrace.kernel.statedump.events import STATE_DUMP
from boxtrace.kernel.syscalls import Syscall
from boxtrace.kernel.syscalls.layout import EventLayout, LayoutOptions, syscall_layouts
from boxtrace.kernel.tracepoints import ANY_TRACEPOINT, ChosenTracepoint, Tracepoints

__all__ = ["OWN_TRACEPOINTS", "SCHED", "Catalogue", "SyscallEvents", "build_catalogue"]

_WAKEUP = payload(comm=COMM, tid=I32, prio=I32, target_cpu=I32)
_TASK = payload(comm=COMM, tid=I32, prio=I32)
_VTIDS_LENGTH = FieldLocation(Scope.EVENT_PAYLOAD, ("_vtids_length",))


def _sched(name: str, fields: StructField) -> EventType:
    return EventType(name, f"BT_EV_{name.upper()}", name, fields, source=f"sched:{name}")


SCHED: tuple[EventType, ...] = (
    _sched(
        "sched_switch",
        payload(
            prev_comm=COMM,
            prev_tid=I32,
            prev_prio=I32,
            prev_state=I64,
            next_comm=COMM,
            next_tid=I32,
            next_prio=I32,
        ),
    ),
    _sched("sched_waking", _WAKEUP),
    _sched("sched_wakeup", _WAKEUP),
    _sched("sched_wakeup_new", _WAKEUP),
    _sched("sched_migrate_task", payload(comm=COMM, tid=I32, prio=I32, orig_cpu=I32, dest_cpu=I32)),
    _sched(
        "sched_process_fork",
        payload(
            parent_comm=COMM,
            parent_tid=I32,
            parent_pid=I32,
            parent_ns_inum=U32,
            child_comm=COMM,
            child_tid=I32,
            _vtids_length=U8,
            vtids=SequenceField(element=I32, length=_VTIDS_LENGTH),
            child_pid=I32,
            child_ns_inum=U32,
        ),
    ),
    _sched("sched_process_exec", payload(filename=StringField(), tid=I32, old_tid=I32)),
    _sched("sched_process_exit", _TASK),
    _sched("sched_process_free", _TASK),
)

OWN_TRACEPOINTS = frozenset(event.source for event in (*SCHED, *BIRTHS))
"""The kernel's names of tracepoints that have programs of their own."""

_UNKNOWN_ENTRY = payload(id=I32, args=ArrayField(element=U64, length=6))
_UNKNOWN_EXIT = payload(id=I32, ret=I64, args=ArrayField(element=U64, length=6))

UNKNOWN_SYSCALLS: tuple[EventType, ...] = tuple(
    EventType(
        f"{prefix}syscall_{when}_unknown", f"BT_EV_{prefix.upper()}SYSCALL_{when.upper()}_UNKNOWN", program, fields
    )
    for prefix in ("", "compat_")
    for when, program, fields in (("entry", "sys_enter", _UNKNOWN_ENTRY), ("exit", "sys_exit", _UNKNOWN_EXIT))
)
"""Calls whose number the tables do not know."""

LATE_STRING = EventType(
    "syscall_late_string",
    "BT_EV_SYSCALL_LATE_STRING",
    "sys_exit",
    payload(id=I32, argument=U8, value=StringField()),
)
"""A string that an argument of the call that is about to exit points to, empty in the call's entry event because its
page was not in memory yet: number of the call, index of the argument."""


DEFAULT_TRACEPOINTS = frozenset(
    f"io_uring:{event}" for event in ("io_uring_submit_req", "io_uring_submit_sqe", "io_uring_complete")
)
"""Recorded without being asked for, beside system calls: the requests that pass them by (``sqe`` before Linux 6.4)."""


@dataclass(frozen=True, slots=True)
class SyscallEvents:
    """The two events of a system call; an id of 0 means that the event is not recorded."""

    call: Syscall
    compat: bool
    entry_id: int
    exit_id: int
    entry: EventLayout
    exit: EventLayout


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The chosen events with their numbers.

    :param classes: for the metadata, by ascending id; ids start at 1.
    :param ids: of events with a program of their own, by enumerator of ``enum bt_event_kind``.
    :param syscalls: every known system call, recorded or not (unknown numbers are recorded raw).
    :param programs: the BPF programs that these events need.
    :param probe_ids: of the events of probes, in their order.
    :param tracepoints: what is recorded by the program that any tracepoint can have.
    :param made_by: ids of the events that each program makes; of events that user space makes there is none.
    """

    classes: tuple[EventClass, ...]
    ids: dict[str, int]
    syscalls: tuple[SyscallEvents, ...]
    programs: frozenset[str]
    probe_ids: tuple[int, ...] = ()
    tracepoints: tuple[ChosenTracepoint, ...] = ()
    made_by: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def asks_for_tracepoints(self) -> bool:
        """Whether tracepoints are recorded beyond those that come without being asked for."""
        return any(
            f"{chosen.tracepoint.group}:{chosen.tracepoint.event}" not in DEFAULT_TRACEPOINTS
            for chosen in self.tracepoints
        )


_NO_EXTRAS = LayoutOptions()


class _Numbering:
    """Gives ids to the events whose names match one of the patterns; without patterns to all that it is told of.

    :param patterns: None for none of the events that are not recorded always.
    """

    def __init__(self, patterns: Iterable[str] | None, stream_id: int) -> None:
        self._stream_id = stream_id
        self._unused = dict.fromkeys(patterns or ())
        self._patterns = tuple(self._unused)
        self._all = patterns is not None and not self._patterns
        self.classes: list[EventClass] = []
        self.made_by: dict[str, set[int]] = {}

    def matching(self, *names: str) -> list[str]:
        """Return the patterns that one of these names of an event matches; a colon must be matched by a colon."""
        return [
            pattern
            for pattern in self._patterns
            if any(fnmatchcase(name, pattern) for name in names if ":" in pattern or ":" not in name)
        ]

    def add(self, name: str, fields: StructField, *programs: str, kernel_name: str = "", always: bool = False) -> int:
        """Return the id of an event that these programs make, 0 if it is not wanted."""
        matching = self.matching(name, kernel_name)
        if not matching and not always and not self._all:
            return 0
        for pattern in matching:
            self._unused.pop(pattern, None)
        event = EventClass(id=len(self.classes) + 1, name=name, fields=fields, stream_id=self._stream_id)
        self.classes.append(event)
        for program in programs:
            self.made_by.setdefault(program, set()).add(event.id)
        return event.id

    def check(self) -> None:
        if self._unused:
            raise UsageError(
                f"no event matches {next(iter(self._unused))!r}",
                hint="boxtrace list events, and boxtrace list syscalls, show what there is",
            )


def build_catalogue(
    native: Iterable[Syscall],
    compat: Iterable[Syscall],
    patterns: Sequence[str] | None = (),
    *,
    tracepoints: Tracepoints | None = None,
    layout: LayoutOptions = _NO_EXTRAS,
    exit_has_group_dead: bool = False,
    state_dump: bool = True,
    more: Iterable[EventType] = (),
    apart: Iterable[str] = (),
    stream_id: int = 0,
    probes: Iterable[tuple[str, str, StructField]] = (),
) -> Catalogue:
    """Number the events whose names match one of the shell patterns.

    Without patterns these are the system calls, what passes them by, and the scheduler's main events. A tracepoint is
    also matched by the kernel's name for it, ``GROUP:EVENT``.

    :param patterns: None for nothing but what is recorded whatever the patterns.
    :param native: the machine's own system calls.
    :param compat: those of its 32-bit programs.
    :param tracepoints: those of the running kernel, as far as they have no programs of their own.
    :param layout: what system calls record beside their arguments.
    :param exit_has_group_dead: whether the kernel tells at a thread's exit that it was the last of its process.
    :param state_dump: whether the events of the state dump are among them, whatever the patterns.
    :param apart: names of births and deaths that the patterns do not choose: another channel has them.
    :param more: further events that are recorded whatever the patterns.
    :param stream_id: of the stream class whose events these are.
    :param probes: name, program and payload of the events of probes; all of them are recorded.
    :raises UsageError: for a pattern that matches no event.
    """
    numbering = _Numbering(patterns, stream_id)
    ids: dict[str, int] = {}
    programs: set[str] = set()

    elsewhere = frozenset(apart)
    for event in (*SCHED, *BIRTHS, *UNKNOWN_SYSCALLS, LATE_STRING):
        if event.name in elsewhere:
            ids[event.kind] = 0
            continue
        fields = event.fields
        if event.name == "sched_process_exit" and exit_has_group_dead:
            fields = StructField(members=(*fields.members, Member("group_dead", U8)))
        makers = {event.program} | ({"sys_exit"} if event.name == "namespace_change" else set())
        ids[event.kind] = numbering.add(event.name, fields, *makers, kernel_name=event.source)
        if ids[event.kind]:
            programs.add(event.program)
    if ids["BT_EV_NAMESPACE_CHANGE"] or ids["BT_EV_NAMESPACE_EXEC"]:
        programs.add("sys_exit")
    for event in (*(STATE_DUMP if state_dump else ()), *more):
        number = numbering.add(event.name, event.fields, always=True)
        if event.kind:
            ids[event.kind] = number
        programs.add(event.program)
    if ids["BT_EV_NAMESPACE_CHANGE"] or ids["BT_EV_NAMESPACE_EXEC"]:
        programs |= {"task_born", "task_executes"}
    syscalls = []
    for calls, is_compat in ((native, False), (compat, True)):
        prefix = "compat_" if is_compat else ""
        for call in calls:
            entry, exit_ = syscall_layouts(call, replace(layout, structs=None) if is_compat else layout)
            entry_id = numbering.add(f"{prefix}syscall_entry_{call.name}", entry.fields, "sys_enter")
            exit_id = numbering.add(f"{prefix}syscall_exit_{call.name}", exit_.fields, "sys_exit")
            syscalls.append(SyscallEvents(call, is_compat, entry_id, exit_id, entry, exit_))
            if entry_id:
                programs.add("sys_enter")
            if exit_id:
                programs.add("sys_exit")
    probe_ids = []
    for name, program, fields in probes:
        probe_ids.append(numbering.add(name, fields, program, always=True))
        programs.add(program)
    chosen = _choose_tracepoints(numbering, tracepoints, patterns != ()) if tracepoints is not None else ()
    if chosen:
        programs.add(ANY_TRACEPOINT)
    numbering.check()
    return Catalogue(
        tuple(numbering.classes),
        ids,
        tuple(syscalls),
        frozenset(programs),
        tuple(probe_ids),
        chosen,
        {program: frozenset(made) for program, made in numbering.made_by.items()},
    )


def _choose_tracepoints(
    numbering: _Numbering, tracepoints: Tracepoints, by_pattern: bool
) -> tuple[ChosenTracepoint, ...]:
    chosen = []
    for name in tracepoints.names:
        matching = numbering.matching(name.name, name.kernel_name)
        if not matching if by_pattern else name.kernel_name not in DEFAULT_TRACEPOINTS:
            continue
        tracepoint = tracepoints.describe(name)
        number = numbering.add(name.name, tracepoint.layout.fields, ANY_TRACEPOINT, kernel_name=name.kernel_name)
        by_name = name.name in matching or name.kernel_name in matching
        chosen.append(ChosenTracepoint(number, tracepoint, by_name))
    return tuple(chosen)
