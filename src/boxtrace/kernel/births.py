"""Events of the birth, life and death of containers, as the kernel alone tells of them (``bpf/births.bpf.c``).

LTTng has none of these. The events of cgroups have the names and fields of the kernel's own tracepoints: ``root`` is
the number of the hierarchy (``/proc/cgroups``; 0 is version 2), ``id`` the inode number of the cgroup's directory,
``path`` its path from the hierarchy's root.

- ``namespace_change``: a process was forked into namespaces (or a version 2 cgroup) that are not its parent's, or
  changed its own by unshare or setns. Its eight namespaces after that, and those that its children will have.
- ``namespace_exec``: the first program that such a process executes, if it then lives apart from its parent: the
  entrypoint of a container, and what is executed in one from outside.
- ``namespace_exit``: the first process of a pid namespace has ended, and with it all others in there.
- ``oom_victim``: a process is killed because memory (a cgroup's, or the machine's) is used up.
- ``cgroup_*``: a cgroup is made, removed, renamed, processes are moved into it, it is frozen (version 2 only; it
  tells nothing of version 1); ``cgroup_notify_populated`` tells by ``val`` whether processes are left in it.

``cgroup_id`` in the first three is that of hierarchy ``cgroup_root``, by which the recording tells containers apart.
"""

from __future__ import annotations

from typing import Final

from boxtrace.ctf.fields import EnumMapping, FieldClass, IntegerField, StringField
from boxtrace.kernel.event_type import COMM, I32, U32, U64, EventType, payload

__all__ = ["BIRTHS", "CAUSES", "NAMESPACE_CALLS", "NAMING"]

NAMESPACE_CALLS: Final = {"unshare": "BT_CAUSE_UNSHARE", "setns": "BT_CAUSE_SETNS"}
"""System calls by which a task changes its own namespaces, with their enumerator in ``enum bt_cause``."""

CAUSES: Final = ("none", "clone", "unshare", "setns")
"""Labels of ``enum bt_cause``: clone stands for fork, vfork, clone and clone3."""

_CAUSE = IntegerField(size=8, mappings=tuple(EnumMapping(label, ((i, i),)) for i, label in enumerate(CAUSES)))
_NAMESPACES = {f"{kind}_ns": U32 for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")}
_TASK = {
    "tid": I32,
    "pid": I32,
    "vtid": I32,
    "cause": _CAUSE,
    **_NAMESPACES,
    "pid_ns_for_children": U32,
    "time_ns_for_children": U32,
    "cgroup_id": U64,
    "cgroup_root": I32,
}
_CGROUP: dict[str, FieldClass] = {"root": I32, "level": I32, "id": U64, "path": StringField()}
_MOVE: dict[str, FieldClass] = {
    "dst_root": I32,
    "dst_level": I32,
    "dst_id": U64,
    "dst_path": StringField(),
    "pid": I32,
    "comm": COMM,
}


def _cgroup_event(name: str, fields: dict[str, FieldClass], **more: IntegerField) -> EventType:
    return EventType(name, f"BT_EV_{name.upper()}", name, payload(**fields, **more), source=f"cgroup:{name}")


BIRTHS: Final[tuple[EventType, ...]] = (
    EventType("namespace_change", "BT_EV_NAMESPACE_CHANGE", "task_born", payload(**_TASK)),
    EventType("namespace_exec", "BT_EV_NAMESPACE_EXEC", "task_executes", payload(**_TASK, filename=StringField())),
    EventType(
        "namespace_exit",
        "BT_EV_NAMESPACE_EXIT",
        "task_ends",
        payload(pid=I32, pid_ns=U32, exit_code=I32, signal=I32, cgroup_id=U64, cgroup_root=I32),
    ),
    EventType("oom_victim", "BT_EV_OOM_VICTIM", "oom_victim", payload(pid=I32, comm=COMM)),
    *(_cgroup_event(f"cgroup_{what}", _CGROUP) for what in ("mkdir", "rmdir", "rename", "freeze", "unfreeze")),
    *(_cgroup_event(f"cgroup_{what}", _MOVE) for what in ("attach_task", "transfer_tasks")),
    *(_cgroup_event(f"cgroup_notify_{what}", _CGROUP, val=I32) for what in ("populated", "frozen")),
)
"""Recorded by default, like system calls."""

NAMING: Final[tuple[EventType, ...]] = tuple(
    event
    for event in BIRTHS
    if event.name in ("namespace_change", "namespace_exec", "namespace_exit", "cgroup_mkdir", "cgroup_attach_task")
)
"""Those that tell whose a pid namespace is, and when: with them every event can have its container."""
