"""The tracepoints of the running kernel: their names as events, and on demand what is recorded of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from boxtrace.errors import CapabilityError
from boxtrace.kernel.tracefs import Tracefs
from boxtrace.kernel.tracepoints.fields import kernel_layout
from boxtrace.kernel.tracepoints.layouts import fill_layout, lttng_events
from boxtrace.kernel.tracepoints.model import Layout, Tracepoint, merge_copies

__all__ = ["TracepointName", "Tracepoints"]

# System calls are events of their own kind; ftrace's entries are what its tracers print, not tracepoints.
_OTHER_GROUPS = frozenset({"syscalls", "raw_syscalls", "ftrace"})


@dataclass(frozen=True, slots=True)
class TracepointName:
    """A tracepoint that can be recorded.

    :param name: of its event.
    :param group: the kernel's trace system.
    :param event: its name in there.
    """

    name: str
    group: str
    event: str

    @property
    def kernel_name(self) -> str:
        """The kernel's name for it, as perf and trace-cmd spell it."""
        return f"{self.group}:{self.event}"


class Tracepoints:
    """The tracepoints that a tracefs describes.

    An event has LTTng's name where LTTng has the event, else the kernel's, with its group before it where another event
    has that name, too.

    :param own: the kernel's names of those that have programs of their own, and are left out here.
    """

    def __init__(self, tracefs: Tracefs, own: Collection[str] = ()) -> None:
        self._tracefs = tracefs
        places = [place for place in tracefs.events() if place[0] not in _OTHER_GROUPS]
        places = [(group, event) for group, event in places if f"{group}:{event}" not in own]
        lttng = lttng_events()
        count = Counter(event for _, event in places)
        taken = {known.name for known in lttng.values()} | {name.partition(":")[2] for name in own}

        def name(group: str, event: str) -> str:
            known = lttng.get((group, event))
            if known is not None:
                return known.name
            return f"{group}_{event}" if count[event] > 1 or event in taken else event

        self.names = tuple(TracepointName(name(group, event), group, event) for group, event in places)
        """All of them, by group and event."""

    def describe(self, name: TracepointName) -> Tracepoint:
        """Return what is recorded of a tracepoint.

        :raises CapabilityError: if the kernel does not describe it.
        """
        described = self._tracefs.format(name.group, name.event)
        known = lttng_events().get((name.group, name.event))
        layout: Layout | None = None
        missing: tuple[str, ...] | None = None
        for fields in known.layouts if known is not None else ():
            filled = fill_layout(fields, described)
            if filled is not None:
                layout, missing = filled
                break
        if layout is None:
            layout = kernel_layout(described)
        if len({member.name for member in layout.members}) < len(layout.members):
            raise CapabilityError(f"the kernel's description of {name.kernel_name} has a field twice")
        return Tracepoint(
            name=name.name,
            group=name.group,
            event=name.event,
            layout=Layout(layout.members, merge_copies(layout.copies)),
            lttng=known is not None,
            missing=missing,
        )
