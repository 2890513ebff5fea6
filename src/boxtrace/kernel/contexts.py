"""Context fields of kernel events: what each is called, its type, and where it lies in an event's context block.

Names, types and meanings are LTTng's (the talk's slide and ``lttng add-context``); ids are those of the kernel: ``pid``
is the tgid and ``tid`` the pid, both in the initial pid namespace, ``v*`` the same in the task's own pid or user
namespace (a user or group that has no number there is 65534). ``*_ns`` are the inode numbers that ``lsns`` shows, 0 for
a task that has left them (it is exiting). ``prio`` is the kernel's less 100: nice 0 is 20. ``interruptible`` is -1
where it cannot be known. LTTng lacks ``cgroup_id`` (the cgroup's inode number, in the hierarchy that the recording
uses) and ``container`` (a number that the events ``container_number`` explain; 0 for none).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boxtrace.ctf.fields import (
    DisplayBase,
    FieldClass,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    SequenceField,
    StaticStringField,
    StructField,
)
from boxtrace.errors import CapabilityError, UsageError
from boxtrace.kernel.perf import PerfCounter, parse_counter

__all__ = ["CALLSTACKS", "CONTEXTS", "DEFAULT_CONTEXTS", "ContextLayout", "context_layout"]

_ID = IntegerField(size=32, signed=True)
_U8 = IntegerField(size=8)
_U32 = IntegerField(size=32)
_U64 = IntegerField(size=64)
_ADDRESS = IntegerField(size=64, base=DisplayBase.HEXADECIMAL)
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_IDS = ("uid", "euid", "suid", "gid", "egid", "sgid")

CONTEXTS: Final[Mapping[str, FieldClass]] = {
    "procname": StaticStringField(length=16),
    **dict.fromkeys(("pid", "tid", "vpid", "vtid", "ppid"), _ID),
    **{f"{namespace}_ns": _U32 for namespace in _NAMESPACES},
    **dict.fromkeys(("prio", "nice", "vppid"), _ID),
    "hostname": StaticStringField(length=65),
    **dict.fromkeys(_IDS, _U32),
    **{f"v{name}": _U32 for name in _IDS},
    "cpu_id": _ID,
    "need_reschedule": _U8,
    "preemptible": _U8,
    "interruptible": IntegerField(size=8, signed=True),
    "migratable": _U8,
    "cgroup_id": _U64,
    "container": _U32,
}
"""All contexts of constant size, except perf counters (``perf:cpu:NAME``)."""

DEFAULT_CONTEXTS: Final = ("procname", "pid", "tid", "vpid", "vtid", "ppid", *(f"{name}_ns" for name in _NAMESPACES))
"""What is recorded unless something else is asked for, in this order."""

CALLSTACKS: Final = ("callstack-kernel", "callstack-user")
"""Contexts of variable size: they lie behind all others, in this order."""

_PERF_PREFIX = "perf:cpu:"
_LIVE = frozenset(
    {"prio", "nice", "vppid", "hostname", "cgroup_id", "container"}
    | {"need_reschedule", "preemptible", "interruptible", "migratable"}
)
_REALTIME = Path("/sys/kernel/realtime")


@dataclass(frozen=True, slots=True)
class ContextLayout:
    """Where the chosen contexts lie in an event's context block.

    :param offsets: context name -> offset in bytes, in order.
    :param size: of the block, in bytes, without call stacks.
    :param callstacks: those of :data:`CALLSTACKS` that are recorded, behind the block.
    """

    offsets: Mapping[str, int]
    size: int
    callstacks: tuple[str, ...] = ()

    @property
    def counters(self) -> Mapping[PerfCounter, int]:
        """The perf counters with their offsets."""
        return {
            parse_counter(name.removeprefix(_PERF_PREFIX)): offset
            for name, offset in self.offsets.items()
            if name.startswith(_PERF_PREFIX)
        }

    @property
    def groups(self) -> frozenset[str]:
        """The enumerators of ``enum bt_context_group`` that hold."""
        names = set(self.offsets)
        virtual = bool(names & {f"v{name}" for name in _IDS})
        groups = {
            "BT_GROUP_IDS": bool(names & {*_IDS, "cpu_id"}),
            "BT_GROUP_VIRTUAL_IDS": virtual,
            "BT_GROUP_LIVE": virtual or bool(names & _LIVE) or bool(self.counters),
        }
        return frozenset(name for name, holds in groups.items() if holds)

    def extended(self, plain: int) -> bool:
        """Whether the block is more than cached 32-bit words: up to ``plain`` bytes of them are the fast case."""
        return self.size > plain or self.size % 4 != 0 or "BT_GROUP_LIVE" in self.groups or bool(self.callstacks)

    def field(self) -> StructField | None:
        """Return the contexts as a CTF structure, None when there are none."""
        members = [
            Member(parse_counter(name.removeprefix(_PERF_PREFIX)).field_name, _U64)
            if name.startswith(_PERF_PREFIX)
            else Member(name, CONTEXTS[name])
            for name in self.offsets
        ]
        for name in self.callstacks:
            stack = name.replace("-", "_")
            length = FieldLocation(Scope.EVENT_COMMON_CONTEXT, (f"_{stack}_length",))
            members.append(Member(length.path[0], _U32))
            members.append(Member(stack, SequenceField(element=_ADDRESS, length=length)))
        return StructField(members=tuple(members)) if members else None


def _size(name: str) -> int:
    if name.startswith(_PERF_PREFIX):
        parse_counter(name.removeprefix(_PERF_PREFIX))
        return 8
    if name not in CONTEXTS:
        raise UsageError(
            f"there is no context {name!r}",
            hint=f"one of: {', '.join((*CONTEXTS, *CALLSTACKS))}, perf:cpu:NAME; default stands for the usual ones",
        )
    if name == "migratable" and not _REALTIME.exists():
        raise CapabilityError(
            "the context 'migratable' exists on real-time kernels only",
            missing=("PREEMPT_RT",),
            hint=f"this is {os.uname().release}; leave it out",
        )
    field = CONTEXTS[name]
    return field.length if isinstance(field, StaticStringField) else field.size // 8  # type: ignore[union-attr]


def context_layout(names: Iterable[str]) -> ContextLayout:
    """Lay out the contexts with these names, in this order; a name given twice counts once.

    ``default`` stands for :data:`DEFAULT_CONTEXTS`, ``perf:cpu:NAME`` for a counter. Call stacks come last.

    :raises UsageError: for a name that is no context.
    :raises CapabilityError: for one that this kernel does not have.
    """
    offsets: dict[str, int] = {}
    callstacks: set[str] = set()
    size = 0
    for given in names:
        for name in DEFAULT_CONTEXTS if given == "default" else (given,):
            if name in CALLSTACKS:
                callstacks.add(name)
            elif name not in offsets:
                length = _size(name)
                offsets[name] = size
                size += length
    return ContextLayout(offsets, size, tuple(name for name in CALLSTACKS if name in callstacks))
