"""Events of a kernel trace, made by hand: what the reconstruction of a trace's state needs of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boxtrace.units import Nanoseconds

HOST, OUTER, INNER = 1, 100, 200


@dataclass
class Event:
    name: str
    time: int
    payload: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def timestamp(self) -> Nanoseconds:
        return Nanoseconds(self.time)


def dumped(pid: int, *levels: tuple[int, int], tid: int | None = None, ppid: int = 0) -> list[Event]:
    """State dump of a task: ``levels`` are (vpid, namespace), the host's first."""
    tid = pid if tid is None else tid
    events = [Event("lttng_statedump_process_state", 0, {"tid": tid, "pid": pid, "ppid": ppid, "name": f"p{pid}"})]
    for level in reversed(range(len(levels))):
        vpid, number = levels[level]
        payload = {"tid": tid, "vtid": 0, "vpid": vpid, "vppid": 0, "ns_level": level, "ns_inum": number}
        events.append(Event("lttng_statedump_process_pid_ns", 0, payload))
    return events


def fork(
    time: int, parent: int, parent_ns: int, child: int, child_ns: int, *vtids: int, pid: int | None = None
) -> Event:
    payload = {"parent_pid": parent, "parent_tid": parent, "parent_ns_inum": parent_ns, "child_comm": "child"}
    payload |= {"child_tid": child, "child_pid": pid or child, "child_ns_inum": child_ns, "vtids": [child, *vtids]}
    return Event("sched_process_fork", time, payload)


def execute(time: int, tid: int, name: str, old: int | None = None, context: dict[str, Any] | None = None) -> Event:
    payload = {"filename": f"/bin/{name}", "tid": tid, "old_tid": old or tid}
    return Event("sched_process_exec", time, payload, context or {})


def leave(time: int, tid: int, context: dict[str, Any] | None = None) -> Event:
    return Event("sched_process_exit", time, {"comm": "last", "tid": tid, "prio": 20}, context or {})


def born(time: int, pid: int, pid_ns: int, vtid: int, context: dict[str, Any]) -> Event:
    """``namespace_change`` by a fork: the contexts are the parent's."""
    payload = {"pid": pid, "tid": pid, "vtid": vtid, "cause": 1, "pid_ns": pid_ns, "cgroup_root": 0, "cgroup_id": 0}
    return Event("namespace_change", time, payload, context)


def first_exec(time: int, pid: int, pid_ns: int, vtid: int, name: str, **namespaces: int) -> Event:
    event = born(time, pid, pid_ns, vtid, {"pid": pid, "pid_ns": pid_ns})
    return Event("namespace_exec", time, event.payload | {"filename": f"/bin/{name}"} | namespaces, event.context)


def died(time: int, pid: int, pid_ns: int, code: int = 0, signal: int = 0) -> Event:
    return Event("namespace_exit", time, {"pid": pid, "pid_ns": pid_ns, "exit_code": code, "signal": signal})
