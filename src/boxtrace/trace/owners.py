"""Whose an event is: its container, by the contexts that it has and the trace's state at its time."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from boxtrace.containers.model import Container
from boxtrace.ctf.model import StreamClass
from boxtrace.trace.containers import TraceContainers
from boxtrace.trace.event import Event
from boxtrace.trace.trace import Trace
from boxtrace.units import Nanoseconds

__all__ = ["EventOwners"]

_Meanings = tuple[list[int], list[tuple[Container | None, int]]]


class EventOwners:
    """Tells the containers of a trace's events, of the kernel and of applications. Reads the whole trace first.

    :raises TraceFormatError: as of :class:`~boxtrace.trace.containers.TraceContainers`.
    """

    def __init__(self, trace: Trace) -> None:
        lives = TraceContainers(trace)
        self._processes = _over_time(
            (process.pid, process.begin, lives.innermost(process), process.pid_ns) for process in lives.state.processes
        )
        self._spaces = _over_time((space.number, space.begin, item, space.number) for space, item in lives.spaces())
        self._places: dict[tuple[int, str], bool | None] = {}

    def container(self, event: Event) -> Container | None:
        """Return the innermost container of the task that an event is of; None for the host's, or if nothing tells."""
        time = event.timestamp or 0
        pid_ns = self._context(event, "pid_ns")
        for number, meanings in ((self._context(event, "pid"), self._processes), (pid_ns, self._spaces)):
            found = meanings.get(number)
            if found is not None:
                container, own = found[1][max(0, bisect_right(found[0], time) - 1)]
                # A process stays in its pid namespace: one in another has got the number since.
                if container is not None and (pid_ns <= 0 or own in (0, pid_ns)):
                    return container
        return None

    def _context(self, event: Event, name: str) -> int:
        """Return a context: of the event, or of its packet where all events of that are one thread's; -1 if none."""
        cls = event.stream.cls
        key = (id(cls), name)
        if key not in self._places:
            self._places[key] = _place(cls, name)
        place = self._places[key]
        return -1 if place is None else int((event.context if place else event.packet_context).get(name, -1))


def _place(cls: StreamClass, name: str) -> bool | None:
    """Return whether a context is the event's (and not its packet's), None if there is none of that name."""
    for fields, own in ((cls.event_context, True), (cls.packet_context, False)):
        if fields is not None and fields.find(name) is not None:
            return own
    return None


def _over_time(lives: Iterable[tuple[int, Nanoseconds | None, Container | None, int]]) -> dict[int, _Meanings]:
    """Return what each number meant from which time on, and in which pid namespace; the first meaning is from ever."""
    by_number: defaultdict[int, list[tuple[int, int, Container | None, int]]] = defaultdict(list)
    for order, (number, begin, container, pid_ns) in enumerate(lives):
        by_number[number].append((begin or 0, order, container, pid_ns))
    meanings = {}
    for number, found in by_number.items():
        found.sort(key=lambda life: life[:2])
        meanings[number] = ([begin for begin, *_ in found], [(life[2], life[3]) for life in found])
    return meanings
