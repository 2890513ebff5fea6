"""Processes and pid namespaces over the time of a trace, from its state dump and its fork, exec and exit events.

What an event tells of is kept as it was told: a process that was there before the trace has no beginning, one whose
fork was lost is known from when it next appears. Numbers that the kernel used again (a pid, a pid namespace) are told
apart by time: a fork begins a new process, and a process that is number 1 in its pid namespace begins a new namespace.

The events and their fields are LTTng's (lttng-modules 2.12 and later); contexts of these events are used where they
were recorded, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from boxtrace.containers.model import Namespaces
from boxtrace.containers.text import clean
from boxtrace.trace.lives import UNKNOWN_NS, PidNamespace, Process, Thread
from boxtrace.trace.users import SET_ID_CALLS
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = ["STATE_EVENTS", "StateEvent", "TraceState", "reconstruct"]

_COMM_LENGTH = 15
_KILLED = 128
_CLONE = 1
"""In ``cause`` of ``namespace_change``."""


class StateEvent(Protocol):
    """What is needed of an event (:class:`boxtrace.trace.Event` is one)."""

    @property
    def name(self) -> str:
        """Name of the event."""

    @property
    def timestamp(self) -> Nanoseconds | None:
        """When it was, ns since the Unix epoch."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """The event's own fields."""

    @property
    def context(self) -> Mapping[str, Any]:
        """Its context fields; empty where none were recorded."""


class TraceState:
    """Who lived in a trace. Made by :func:`reconstruct`, or event by event with :meth:`feed`."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.pid_namespaces: list[PidNamespace] = []
        self._current: dict[Pid, Process] = {}
        self._group: dict[int, Pid] = {}
        self._spaces: dict[NamespaceInum, PidNamespace] = {}
        self._dumped: dict[int, list[tuple[int, int, NamespaceInum, int]]] = {}
        self._threads: dict[int, Thread] = {}
        self._setting: dict[int, int] = {}
        self._last_user: int | None = None
        self._cgroup_paths: dict[tuple[int, CgroupId], str] = {}
        self._forked: dict[Pid, Process] = {}

    @property
    def host(self) -> PidNamespace | None:
        """The host's pid namespace; None when no event told of a process in it."""
        return next((space for space in self.pid_namespaces if not space.ancestors), None)

    def feed(self, event: StateEvent) -> None:
        """Take one event, which must not be earlier than the one before.

        Those of no concern are ignored, and those of other tracers that have other fields under the same name.
        """
        handler = _HANDLERS.get(event.name)
        if handler is not None:
            try:
                handler(self, event)
            except (KeyError, TypeError, ValueError):
                return

    def _on_dumped_process(self, event: StateEvent) -> None:
        payload = event.payload
        tid, pid = int(payload["tid"]), Pid(payload["pid"])
        process = self._current.get(pid) or self._begin(pid, None)
        self._begin_thread(process, tid, None)
        if tid == pid:
            process.names.note_dumped(event.timestamp, clean(payload["name"]))
            process.ppid = Pid(payload["ppid"])

    def _on_dumped_pid_ns(self, event: StateEvent) -> None:
        # One event per level, the innermost first: whole with level 0.
        payload = event.payload
        tid, level, number = int(payload["tid"]), payload["ns_level"], NamespaceInum(payload["ns_inum"])
        if not number:
            return  # a task that is being released has no pid any more
        levels = self._dumped.setdefault(tid, [])
        levels.append((level, payload["vpid"], number, payload["vtid"]))
        if level:
            return
        levels.sort()
        del self._dumped[tid]
        process = self._current.get(self._group.get(tid, Pid(tid)))
        thread = self._threads.get(tid)
        if thread is not None:
            thread.vtids = tuple(entry[3] for entry in levels)
        if process is not None and process.pid == tid:
            self._place(process, tuple(entry[1] for entry in levels), tuple(entry[2] for entry in levels))

    def _on_dumped_namespace(self, event: StateEvent) -> None:
        payload = event.payload
        tid = payload["tid"]
        kind = event.name.removeprefix("lttng_statedump_process_").removesuffix("_ns")
        process = self._current.get(Pid(tid))
        if kind == "user":
            if process is not None:
                process.users.on_dumped(payload, event.timestamp)
            # One event per level, as for pid namespaces: its own is the first.
            outer, self._last_user = self._last_user == tid, tid
            if outer:
                return
        if process is not None:
            process.namespaces[kind] = NamespaceInum(payload["ns_inum"])

    def _on_fork(self, event: StateEvent) -> None:
        payload = event.payload
        tid, pid = int(payload["child_tid"]), Pid(payload["child_pid"])
        vpids = tuple(payload["vtids"])
        if tid != pid:
            self._begin_thread(self._current.get(pid) or self._begin(pid, None), tid, event.timestamp, vpids)
            return
        process = self._begin_child(event, pid, Pid(payload["parent_pid"]), clean(payload["child_comm"]))
        self._begin_thread(process, tid, event.timestamp, vpids)
        self._forked[pid] = process
        around = self._chain_of_parent(process.ppid, NamespaceInum(payload["parent_ns_inum"]))
        self._place(process, vpids, _chain(around, NamespaceInum(payload["child_ns_inum"]), len(vpids)))

    def _begin_child(self, event: StateEvent, pid: Pid, ppid: Pid, name: str) -> Process:
        """Begin a process that its parent has forked; the contexts are the parent's."""
        parent = self._current.get(ppid)
        process = self._begin(pid, event.timestamp)
        process.names.note(event.timestamp, name)
        process.ppid = ppid
        if parent is not None:
            parent.users.on_context(event.context, event.timestamp)
            process.cgroups = parent.cgroups
            process.users.inherit(parent.users, event.timestamp)
            process.paths.inherit(event.timestamp, parent.paths)
        self._note_namespaces(process, event.context)
        return process

    def _on_exec(self, event: StateEvent) -> None:
        payload = event.payload
        # The thread that calls execve becomes the main thread, whatever its number was.
        tid = int(payload["tid"])
        self._group.pop(payload.get("old_tid", tid), None)
        process = self._known(tid, event)
        self._group[tid] = process.pid
        process.threads = {tid}
        process.end = None
        for thread in process.all_threads:
            if thread.end is None and thread.tid != tid:
                thread.end = event.timestamp
        self._begin_thread(process, tid, event.timestamp, process.vpids)
        self._note_program(process, event)
        self._note_namespaces(process, event.context)

    @staticmethod
    def _note_program(process: Process, event: StateEvent) -> None:
        name = event.context.get("procname") or PurePosixPath(event.payload["filename"]).name[:_COMM_LENGTH]
        process.names.note(event.timestamp, clean(name))
        process.paths.note(event.timestamp, clean(event.payload["filename"]))
        process.users.on_context(event.context, event.timestamp)

    def _on_exit(self, event: StateEvent) -> None:
        tid = int(event.payload["tid"])
        process = self._known(tid, event)
        process.threads.discard(tid)
        if (thread := self._threads.pop(tid, None)) is not None:
            thread.end = event.timestamp
        if tid == process.pid:
            process.names.note(event.timestamp, clean(event.payload["comm"]))
            self._note_namespaces(process, event.context)
        if not process.threads:
            process.end = event.timestamp
        self._group.pop(tid, None)

    def _on_dumped_path(self, event: StateEvent) -> None:
        process = self._current.get(Pid(event.payload["pid"]))
        if process is not None:
            process.paths.note_dumped(event.timestamp, clean(event.payload["filename"]))

    def _on_set_ids(self, event: StateEvent) -> None:
        call = event.name.removeprefix("syscall_entry_").removeprefix("syscall_exit_")
        tid = event.context.get("tid")
        if tid is None:
            return
        if event.name.startswith("syscall_entry_"):
            self._setting[tid] = int(event.payload[SET_ID_CALLS[call][1]])
            return
        number = self._setting.pop(tid, None)
        process = self._current.get(self._group.get(tid, Pid(tid)))
        if number is not None and process is not None and event.payload["ret"] == 0:
            process.users.on_set(call, number, event.timestamp)

    def _on_cgroup(self, event: StateEvent) -> None:
        payload = event.payload
        self._cgroup_paths[payload["root"], CgroupId(payload["id"])] = clean(payload["path"])

    def _on_move(self, event: StateEvent) -> None:
        payload = event.payload
        process = self._current.get(self._group.get(payload["pid"], Pid(payload["pid"])))
        if process is not None:
            place = CgroupId(payload["dst_id"]), clean(payload["dst_path"])
            process.cgroups = {**process.cgroups, payload["dst_root"]: place}

    def _on_birth(self, event: StateEvent) -> None:
        pid = Pid(event.payload["pid"])
        if event.payload["cause"] == _CLONE:
            process = self._current.get(pid)
            forked = self._forked.pop(pid, None)
            if process is None or process is not forked or process.end is not None:
                # Its fork was not recorded: whoever had the number before is gone.
                self._current.pop(pid, None)
                self._bear(event, pid)
        self._on_namespaces(event)

    def _bear(self, event: StateEvent, pid: Pid) -> None:
        """Begin the first process of a pid namespace. Of any other nobody would tell when it ended."""
        payload, context = event.payload, event.context
        if payload["vtid"] != 1 or "pid_ns" not in context:
            return
        process = self._begin_child(event, pid, Pid(context.get("pid", 0)), clean(context.get("procname") or ""))
        around = self._chain_of_parent(process.ppid, NamespaceInum(context["pid_ns"]))
        vpids = (pid, *(0,) * (len(around) - 1), 1)
        self._begin_thread(process, pid, event.timestamp, vpids)
        self._place(process, vpids, (*around, NamespaceInum(payload["pid_ns"])))

    def _on_first_exec(self, event: StateEvent) -> None:
        self._on_namespaces(event)
        payload = event.payload
        process = self._current.get(Pid(payload["pid"]))
        if process is not None and payload["tid"] == payload["pid"]:
            self._note_program(process, event)

    def _on_namespaces(self, event: StateEvent) -> None:
        payload = event.payload
        process = self._current.get(Pid(payload["pid"]))
        if process is None or payload["tid"] != payload["pid"]:
            return
        self._note_namespaces(process, payload)
        # Of a process that was cloned into a cgroup nobody tells that it was moved.
        key = payload["cgroup_root"], CgroupId(payload["cgroup_id"])
        if key in self._cgroup_paths:
            process.cgroups = {**process.cgroups, key[0]: (key[1], self._cgroup_paths[key])}

    def _on_first_exit(self, event: StateEvent) -> None:
        process = self._current.get(Pid(event.payload["pid"]))
        if process is not None:
            signal = event.payload["signal"]
            process.exit_code = _KILLED + signal if signal else event.payload["exit_code"]
            if process.end is None:
                process.end = event.timestamp

    def _known(self, tid: int, event: StateEvent) -> Process:
        """Return the process of a thread; one of which nothing was known becomes known by the event's contexts."""
        context = event.context
        pid = self._group.get(tid, Pid(context.get("pid", tid)))
        process = self._current.get(pid)
        if process is None:
            process = self._begin(pid, None)
            process.ppid = Pid(context.get("ppid", 0))
        if not process.vpids and context.get("tid") == tid:
            self._place_by_context(process, context)
        return process

    def _place_by_context(self, process: Process, context: Mapping[str, Any]) -> None:
        number, vpid = NamespaceInum(context.get("pid_ns", 0)), context.get("vpid", 0)
        if not (number and vpid):
            return
        space = self._spaces.get(number)
        if space is not None:
            around = tuple(reversed(space.ancestors))
        elif process.pid == vpid:
            around = ()  # the host's, most probably: in any other it would be a coincidence
        else:
            around = (UNKNOWN_NS if self.host is None else self.host.number,)
        between = (0,) * (len(around) - 1)
        vpids = (process.pid, *between, vpid) if around else (vpid,)
        self._place(process, vpids, (*around, number))

    def _begin_thread(self, process: Process, tid: int, time: Nanoseconds | None, vtids: tuple[int, ...] = ()) -> None:
        if tid not in self._threads or tid not in process.threads:
            self._threads[tid] = thread = Thread(tid, vtids, begin=time)
            process.all_threads.append(thread)
        self._group[tid] = process.pid
        process.threads.add(tid)

    def _begin(self, pid: Pid, time: Nanoseconds | None) -> Process:
        process = Process(pid, begin=time)
        self._current[pid] = process
        self.processes.append(process)
        return process

    def _chain_of_parent(self, pid: Pid, number: NamespaceInum) -> tuple[NamespaceInum, ...]:
        """Return the pid namespaces of the process that forks, the host's first, as far as they are known."""
        parent = self._current.get(pid)
        if parent is not None and parent.pid_ns == number:
            return parent.pid_namespaces
        space = self._spaces.get(number)
        return (number,) if space is None else (*reversed(space.ancestors), number)

    def _place(self, process: Process, vpids: tuple[int, ...], chain: tuple[NamespaceInum, ...]) -> None:
        """Put a process that is in no pid namespace yet into its own; a second process number 1 begins another one."""
        if process.pid_namespaces:
            return
        process.vpids, process.pid_namespaces = vpids, chain
        process.namespaces["pid"] = chain[-1]
        around: PidNamespace | None = None
        for level, number in enumerate(chain[:-1]):
            if number:
                around = self._spaces.get(number) or self._begin_space(chain[: level + 1], around)
        space = self._spaces.get(chain[-1])
        is_init = vpids[-1] == 1
        if space is None or (is_init and space.init is not None):
            space = self._begin_space(chain, around)
        if is_init:
            space.init = process
        space.processes.append(process)

    def _begin_space(self, chain: tuple[NamespaceInum, ...], around: PidNamespace | None) -> PidNamespace:
        space = PidNamespace(len(self.pid_namespaces), chain[-1], tuple(reversed(chain[:-1])), around)
        self._spaces[space.number] = space
        self.pid_namespaces.append(space)
        if around is not None:
            around.inside.append(space)
        return space

    @staticmethod
    def _note_namespaces(process: Process, context: Mapping[str, Any]) -> None:
        for kind in Namespaces.names():
            number = context.get(f"{kind}_ns", 0)
            if number and kind != "pid":
                process.namespaces[kind] = NamespaceInum(number)


def _chain(around: tuple[NamespaceInum, ...], number: NamespaceInum, levels: int) -> tuple[NamespaceInum, ...]:
    """Return the pid namespaces of a child: those of its parent, then those in between, then its own.

    A child is in its parent's pid namespace or in one inside it (pid_namespaces(7)).
    """
    if len(around) >= levels:
        return (*around[: levels - 1], number)
    return (*around, *((UNKNOWN_NS,) * (levels - len(around) - 1)), number)


_HANDLERS: Mapping[str, Callable[[TraceState, StateEvent], None]] = {
    "lttng_statedump_process_state": TraceState._on_dumped_process,
    "lttng_statedump_process_pid_ns": TraceState._on_dumped_pid_ns,
    "statedump_process_path": TraceState._on_dumped_path,
    "sched_process_fork": TraceState._on_fork,
    "sched_process_exec": TraceState._on_exec,
    "sched_process_exit": TraceState._on_exit,
    "cgroup_mkdir": TraceState._on_cgroup,
    "cgroup_attach_task": TraceState._on_move,
    "cgroup_transfer_tasks": TraceState._on_move,
    "namespace_change": TraceState._on_birth,
    "namespace_exec": TraceState._on_first_exec,
    "namespace_exit": TraceState._on_first_exit,
    **{
        f"lttng_statedump_process_{kind}_ns": TraceState._on_dumped_namespace
        for kind in Namespaces.names()
        if kind != "pid"
    },
    **{f"syscall_{side}_{call}": TraceState._on_set_ids for call in SET_ID_CALLS for side in ("entry", "exit")},
}

STATE_EVENTS = frozenset(_HANDLERS)
"""Names of the events that matter."""


def reconstruct(events: Iterable[StateEvent]) -> TraceState:
    """Follow all events of a trace, in the order of time."""
    state = TraceState()
    for event in events:
        state.feed(event)
    return state
