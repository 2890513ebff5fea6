"""What runtimes tell of their containers, as events of a trace: their types, and the values that make them.

Version 1 of the stream ``TRACE/containers`` (CTF, domain ``ust``, the clock of the kernel's events). An event is
written when it is heard of; ``time`` is when its runtime says that it happened (CLOCK_REALTIME, ns since the epoch; 0
where it does not say). ``container_metadata`` tells all that is known of one life of a container, whenever something
new is known; those between ``container_statedump_start`` and ``_end`` were there already. In it 0 and the empty text
stand for what is not known, and ``exit_code`` is -1 then; ``birth`` is CLOCK_BOOTTIME, which is ahead of the trace's
clock by ``boottime_offset`` of the trace's environment.

``container_left_out`` is written when a recording ends (and with a snapshot): how many events of one container and
event rule are not in the trace, since the recording began. ``filtered`` its filter rejected, ``sampled`` were not of
the sample, ``limited`` came when the rate was used up, ``discarded`` found the buffers full. ``skipped`` came amid the
recording of one of their kind: so many at most, of all containers together, of which nobody counts whose they were. The
last two are what the packets count in ``events_discarded``. Everything else has empty texts for a container.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from boxtrace.containers.model import Cgroup, Container, Namespaces
from boxtrace.containers.text import clean
from boxtrace.ctf.fields import FieldClass, FieldLocation, IntegerField, Member, Scope, SequenceField, StringField
from boxtrace.ctf.fields import StructField as Struct
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = [
    "DUMP_END",
    "DUMP_START",
    "EVENT_TYPES",
    "LEFT_OUT",
    "METADATA",
    "ContainerEvent",
    "from_values",
    "to_values",
]

METADATA: Final = "container_metadata"
LEFT_OUT: Final = "container_left_out"
DUMP_START: Final = "container_statedump_start"
DUMP_END: Final = "container_statedump_end"

_TEXT = StringField()
_U32, _U64 = IntegerField(size=32), IntegerField(size=64)
_I32 = IntegerField(size=32, signed=True)
_MOST = 1000
"""Labels and cgroups of one container that are kept."""


def _struct(**members: FieldClass) -> Struct:
    return Struct(members=tuple(Member(name, field) for name, field in members.items()))


def _sequence(name: str, element: FieldClass) -> dict[str, FieldClass]:
    length = f"_{name}_length"
    location = FieldLocation(Scope.EVENT_PAYLOAD, (length,))
    return {length: _U32, name: SequenceField(element=element, length=location)}


_COMMON: Mapping[str, FieldClass] = {"runtime": _TEXT, "id": _TEXT, "name": _TEXT, "time": _U64}

EVENT_TYPES: Final[Mapping[str, Struct]] = {
    "container_create": _struct(**_COMMON, image=_TEXT),
    "container_start": _struct(**_COMMON, image=_TEXT),
    "container_exec": _struct(**_COMMON, command=_TEXT),
    "container_pause": _struct(**_COMMON),
    "container_unpause": _struct(**_COMMON),
    "container_die": _struct(**_COMMON, exit_code=_I32),
    "container_oom": _struct(**_COMMON),
    "container_remove": _struct(**_COMMON),
    "container_rename": _struct(**_COMMON, old_name=_TEXT),
    METADATA: _struct(
        **_COMMON,
        image=_TEXT,
        image_digest=_TEXT,
        state=_TEXT,
        init_pid=_I32,
        birth=_U64,
        exit_code=_I32,
        ended=_U64,
        **{f"{kind}_ns": _U32 for kind in Namespaces.names()},
        **_sequence("pid_ns_ancestors", _U32),
        **_sequence("cgroups", _struct(hierarchy=_TEXT, path=_TEXT, id=_U64)),
        **_sequence("labels", _struct(key=_TEXT, value=_TEXT)),
    ),
    DUMP_START: _struct(),
    DUMP_END: _struct(),
    LEFT_OUT: _struct(
        **_COMMON,
        channel=_TEXT,
        rule=_TEXT,
        filtered=_U64,
        sampled=_U64,
        limited=_U64,
        discarded=_U64,
        skipped=_U64,
    ),
}
"""Payload of each type of event, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One thing that a runtime tells of a container.

    :ivar kind: what follows ``container_`` in the event's name.
    :ivar time: when it was, CLOCK_REALTIME in ns; None where the runtime does not say.
    :ivar exit_code: of ``die``.
    :ivar old_name: of ``rename``.
    :ivar command: of ``exec``.
    """

    kind: str
    runtime: str
    id: str
    name: str
    time: Nanoseconds | None = None
    image: str | None = None
    exit_code: int | None = None
    old_name: str = ""
    command: str = ""

    def values(self) -> tuple[str, dict[str, Any]]:
        """Return the event's name and its payload."""
        event = f"container_{self.kind}"
        everything = {
            "runtime": self.runtime,
            "id": self.id,
            "name": self.name,
            "time": self.time or 0,
            "image": self.image or "",
            "exit_code": -1 if self.exit_code is None else self.exit_code,
            "old_name": self.old_name,
            "command": self.command,
        }
        return event, {member.name: everything[member.name] for member in EVENT_TYPES[event].members}


def to_values(container: Container, time: Nanoseconds) -> dict[str, Any]:
    """Return the payload of ``container_metadata``.

    :param time: when this was found out, CLOCK_REALTIME in ns.
    """
    numbers = container.namespaces or Namespaces(*[NamespaceInum(0)] * len(Namespaces.names()))
    labels = [{"key": key, "value": value} for key, value in list(container.labels.items())[:_MOST]]
    cgroups = [{"hierarchy": c.hierarchy, "path": c.path, "id": c.id or 0} for c in container.cgroups[:_MOST]]
    return {
        "runtime": container.runtime,
        "id": container.id,
        "name": container.name,
        "time": time,
        "image": container.image or "",
        "image_digest": container.image_digest or "",
        "state": container.state,
        "init_pid": container.init_pid or 0,
        "birth": container.birth or 0,
        "exit_code": -1 if container.exit_code is None else container.exit_code,
        "ended": container.ended or 0,
        **{f"{kind}_ns": getattr(numbers, kind) for kind in Namespaces.names()},
        **_counted("pid_ns_ancestors", list(container.pid_ns_ancestors)),
        **_counted("cgroups", cgroups),
        **_counted("labels", labels),
    }


def _counted(name: str, items: Sequence[object]) -> dict[str, Any]:
    return {f"_{name}_length": len(items), name: items}


def from_values(values: Mapping[str, Any]) -> Container:
    """Make a container of the payload of ``container_metadata``.

    :raises (KeyError, TypeError, ValueError): it is not one.
    """
    namespaces = Namespaces(*(NamespaceInum(int(values[f"{kind}_ns"])) for kind in Namespaces.names()))
    has_process = bool(values["init_pid"] or any(getattr(namespaces, kind) for kind in Namespaces.names()))
    return Container(
        runtime=clean(values["runtime"]),
        id=clean(values["id"]),
        name=clean(values["name"]),
        state=clean(values["state"]),
        image=clean(values["image"]) or None,
        image_digest=clean(values["image_digest"]) or None,
        init_pid=Pid(int(values["init_pid"])) if values["init_pid"] else None,
        namespaces=namespaces if has_process else None,
        pid_ns_ancestors=tuple(NamespaceInum(int(number)) for number in values["pid_ns_ancestors"]),
        birth=Nanoseconds(int(values["birth"])) if values["birth"] else None,
        cgroups=tuple(
            Cgroup(clean(item["hierarchy"]), clean(item["path"]), CgroupId(int(item["id"])) if item["id"] else None)
            for item in values["cgroups"]
        ),
        labels={clean(item["key"]): clean(item["value"]) for item in values["labels"]},
        exit_code=None if values["exit_code"] < 0 else int(values["exit_code"]),
        ended=Nanoseconds(int(values["ended"])) if values["ended"] else None,
    )
