"""The containers of a trace: what its events tell, with the names that its recording stored.

A container of a trace is a pid namespace other than the host's, from its first process to the end of that. It has the
name of the container whose first process that is, by what somebody saw of it while it lived, or by the cgroup that its
runtime put it into, the path of which holds the id: numbers that the kernel uses again do not matter. What no runtime
named is ``pidns-NUMBER``, and ``pidns-NUMBER.2`` and so on where the kernel used the number again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TypeVar

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.match import match
from boxtrace.containers.model import Container
from boxtrace.ctf.fields import StructField
from boxtrace.errors import SelectionError
from boxtrace.trace.event import Event
from boxtrace.trace.lives import PidNamespace, Process
from boxtrace.trace.naming import Life, Naming
from boxtrace.trace.state import TraceState, reconstruct
from boxtrace.trace.state_events import StateEvents
from boxtrace.trace.told import is_told, read_told
from boxtrace.trace.trace import Trace
from boxtrace.trace.views import Span, TraceViews
from boxtrace.units import Nanoseconds

__all__ = ["TraceContainers"]

_ABOUT = {"sched_process_fork": "child_pid", "cgroup_attach_task": "pid", "namespace_change": "pid"}
"""Events of others that tell how a process came into its container: the field that names it."""

_CONTEXTS = {"pid": "process", "pid_ns": "pid namespace"}


class TraceContainers:
    """Who lived in which container of a trace. Reads all of the trace's events when first asked.

    :param trace: the trace; what was lost from it may be missing here.
    :raises TraceFormatError: its ``containers.json`` is damaged. Of damaged streams, what comes before the damage
        counts; :meth:`check` tells.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._events = StateEvents(trace)
        self._told = read_told(trace)

    @cached_property
    def state(self) -> TraceState:
        """The processes and pid namespaces of the trace."""
        return reconstruct(self._events)

    def rows(self) -> list[ContainerRow]:
        """Return the containers by runtime and name, those that only their runtime told of included."""
        return [self._container_row(life) for life in self._lives]

    def _container_row(self, life: Life) -> ContainerRow:
        first = self._naming.first(life)
        return ContainerRow(
            life.container,
            parent=self._parent(life, first),
            processes=len(self._processes(life)),
            command=None if first is None else first.name,
            begin=None if first is None else first.begin,
            end=None if first is None else first.end,
        )

    def _parent(self, life: Life, first: Process | None) -> Container | None:
        around = [] if first is None else self.around(first)
        own = next((index for index, container in enumerate(around) if container is life.container), None)
        if own is not None:
            return around[own - 1] if own else None
        return None if life.space is None else _nearest(life.space.around, self._by_serial)

    @cached_property
    def _by_serial(self) -> Mapping[int, Container]:
        return {life.space.serial: life.container for life in self._lives if life.space is not None}

    def pids(self, word: str, *, at: Nanoseconds | None = None, threads: bool = False) -> list[PidRow]:
        """Return the ids of every process that was in the container that *word* means, by pid in it and time.

        :param at: only of those that lived then, with what held then; of all, with what was told last, otherwise.
        :param threads: also the ids of their threads.
        :raises ContainerNotFoundError: the trace has no such container.
        :raises SelectionError: several are meant.
        """
        life = self._match(word)
        level = len(life.container.pid_ns_ancestors)
        rows = [
            self._row(process, life.container, level, at, threads)
            for process in self._processes(life)
            if len(process.vpids) > level and process.lived(at)
        ]
        return sorted(rows, key=lambda row: (row.pid, row.begin or 0))

    def processes(self, *, at: Nanoseconds | None = None) -> list[PidRow]:
        """Return every process of the trace with the innermost container that it was in, by pid on the host and time.

        :param at: as of :meth:`pids`.
        """
        rows = []
        for process in self.state.processes:
            container = self.innermost(process)
            level = 0 if container is None else len(container.pid_ns_ancestors)
            if process.lived(at) and len(process.vpids) > level:
                rows.append(self._row(process, container, level, at, threads=False))
        return sorted(rows, key=lambda row: (row.host_pid, row.begin or 0))

    @property
    def containers(self) -> list[Container]:
        """The containers by runtime and name, as :meth:`rows` has them."""
        return [life.container for life in self._lives]

    def spaces(self) -> list[tuple[PidNamespace, Container | None]]:
        """Return the pid namespaces with the containers that they are of.

        Those that events tell of in the order in which they became known, then those that only who saw them told of.
        """
        of = {life.space.serial: life for life in self._lives if life.space is not None}
        told = [life.space for life in of.values() if life.space is not None]
        spaces = {space.serial: space for space in (*self.state.pid_namespaces, *told)}
        return [(space, of[serial].container if serial in of else None) for serial, space in spaces.items()]

    def innermost(self, process: Process) -> Container | None:
        """Return the innermost container that a process of :attr:`state` was in; None for one of the host."""
        around = self.around(process)
        return around[-1] if around else None

    def around(self, process: Process) -> list[Container]:
        """Return the containers that a process of :attr:`state` was in, the outermost first."""
        return self._around.get(id(process), [])

    @cached_property
    def _around(self) -> Mapping[int, list[Container]]:
        found: defaultdict[int, list[Container]] = defaultdict(list)
        for life in sorted(self._lives, key=lambda life: len(life.container.pid_ns_ancestors)):
            for process in self._processes(life):
                found[id(process)].append(life.container)
        return found

    @cached_property
    def _views(self) -> TraceViews:
        # The first of the host's processes (kthreadd where number 1 is not told of) sees what the host sees.
        first = min(self.state.host.processes, key=lambda item: item.pid, default=None) if self.state.host else None
        return TraceViews(self.trace, first, lambda container: self._spans.get(id(container), (None, None)))

    @cached_property
    def _spans(self) -> Mapping[int, Span]:
        lives = ((life.container, life.space) for life in self._lives)
        return {id(container): (space.begin, space.end) for container, space in lives if space is not None}

    def _row(
        self, process: Process, container: Container | None, level: int, at: Nanoseconds | None, threads: bool
    ) -> PidRow:
        return PidRow(
            process.names.at(at) or process.name,
            process.vpids,
            level,
            process.pid_ns,
            ppid=process.ppid,
            container=container,
            views=self._views.of(process, self.around(process), at),
            threads=tuple(item.vtids or (item.tid,) for item in process.all_threads if item.lived(at))
            if threads
            else (),
            begin=process.begin,
            end=process.end,
        )

    def check(self) -> None:
        """Raise what kept parts of the trace from being read, if anything did: what was told is incomplete then.

        :raises TraceFormatError: the first failure.
        """
        if self._events.failure is not None:
            raise self._events.failure

    def selector(self, word: str, *, arrivals: bool = False) -> Callable[[Event], bool]:
        """Return a test that tells the events of the container that *word* means, and of those inside it, from others.

        What its runtime told of it is among them, whenever it was. Any other event is of the container in whose pid
        namespace the task is that recorded it, at that time: a number that was used again is not mistaken. Of a
        container without a pid namespace of its own, its processes decide.

        :param word: what :func:`~boxtrace.containers.match.match` takes, or the number of a pid namespace, which then
            means that number at any time.
        :param arrivals: also take what others did to bring processes into the container: that tells whose they are,
            where nothing else of the trace is kept.
        :raises ContainerNotFoundError: the trace has no such container.
        :raises SelectionError: several are meant, or the events do not have the context that tells.
        """
        if word.isdecimal():
            return self._test("pid_ns", {int(word): [(None, None)]})
        life = self._match(word)
        members = _spans(self._processes(life), self.state.processes, lambda process: process.pid)
        if life.space is not None:
            spaces = life.space.with_inside()
            everyone = [space for space, _ in self.spaces()]
            test = self._test("pid_ns", _spans(spaces, everyone, lambda space: space.number))
            if sharing := self._naming.sharing(life):
                test = _without(test, _spans(sharing, self.state.processes, lambda process: process.pid))
        else:
            test = self._test("pid", members)

        def chosen(event: Event) -> bool:
            if is_told(event):
                return event.payload.get("id") == life.container.id
            about = _ABOUT.get(event.name)
            return test(event) or (
                about is not None and arrivals and _covers(members, event.payload[about], event.timestamp or 0)
            )

        return chosen

    def _test(self, context: str, spans: Mapping[int, list[_Span]]) -> Callable[[Event], bool]:
        classes = [stream.cls for stream in self.trace.streams]
        if not any(_has(cls.event_context, context) or _has(cls.packet_context, context) for cls in classes):
            hint = f"record it with --context {context}"
            raise SelectionError(f"the trace does not tell the {_CONTEXTS[context]} of its events", hint=hint)

        return lambda event: _covers(spans, _number(event, context), event.timestamp or 0)

    def _match(self, word: str) -> Life:
        chosen = match(word, [life.container for life in self._lives])
        return next(life for life in self._lives if life.container is chosen)

    @cached_property
    def _naming(self) -> Naming:
        base = next((stream.clock.base_ns for stream in self.trace.streams if stream.clock is not None), 0)
        cgroups = "cgroup_attach_task" in self.trace.event_names()
        begin = min((stream.begin for stream in self.trace.streams if stream.begin is not None), default=Nanoseconds(0))
        return Naming(self._told, self.state, clock_base=base, begin=begin, cgroups=cgroups)

    @property
    def _lives(self) -> list[Life]:
        return self._naming.lives

    def _processes(self, life: Life) -> list[Process]:
        return self._naming.processes(life)


_T = TypeVar("_T", PidNamespace, Process)
_Span = tuple[Nanoseconds | None, Nanoseconds | None]


def _has(fields: StructField | None, name: str) -> bool:
    return fields is not None and fields.find(name) is not None


def _number(event: Event, context: str) -> int:
    """Return a context; -1 if nothing tells it."""
    # Where the events of a packet are all of one thread, its packet context tells: the user domain's.
    own = _has(event.stream.cls.event_context, context)
    return int((event.context if own else event.packet_context).get(context, -1))


def _without(test: Callable[[Event], bool], others: Mapping[int, list[_Span]]) -> Callable[[Event], bool]:
    """Return a test that lets pass what another one does, but for events of these processes."""
    return lambda event: test(event) and not _covers(others, _number(event, "pid"), event.timestamp or 0)


def _nearest(around: PidNamespace | None, containers: Mapping[int, Container]) -> Container | None:
    while around is not None and around.serial not in containers:
        around = around.around
    return None if around is None else containers[around.serial]


def _spans(chosen: Iterable[_T], everyone: Iterable[_T], number: Callable[[_T], int]) -> dict[int, list[_Span]]:
    """Return when each number meant one of *chosen*: from its beginning until the number meant another one."""
    lives: defaultdict[int, list[_T]] = defaultdict(list)
    for item in everyone:
        lives[number(item)].append(item)
    spans: defaultdict[int, list[_Span]] = defaultdict(list)
    for item in chosen:
        same = lives[number(item)]
        at = next(index for index, other in enumerate(same) if other is item)
        until = same[at + 1].begin if at + 1 < len(same) else None
        spans[number(item)].append((item.begin if at else None, until))
    return spans


def _covers(spans: Mapping[int, list[_Span]], number: int, time: int) -> bool:
    """Tell whether a number meant one of those that were chosen, at that time."""
    return any(
        (begin is None or begin <= time) and (until is None or time < until) for begin, until in spans.get(number, ())
    )
