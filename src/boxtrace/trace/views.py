"""What the host, and each container around a process of a trace, saw of it at a moment.

Pids are told by the state dump and by forks, ids by :mod:`boxtrace.trace.users`. The path of a program is what execve
was given, or the state dump told, in the mount namespace of the process; where another one has it follows from the
mounts that the state dump told of both, or the recording when the container started. Symbolic links are not followed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from boxtrace.containers.model import Container
from boxtrace.containers.mounts import Mount, MountTable, translate
from boxtrace.containers.views import View
from boxtrace.trace.lives import Process
from boxtrace.trace.trace import Trace
from boxtrace.units import NamespaceInum, Nanoseconds

__all__ = ["HOST_MNT_NS", "Span", "TraceViews"]

HOST_MNT_NS = "host_mnt_ns"
"""In a trace's environment: the mount namespace of the host's first process."""

_MOUNT = "statedump_mount"
_ARRIVAL_NS = 5_000_000_000
"""How long after its start the mounts of a container are recorded."""


Span = tuple[Nanoseconds | None, Nanoseconds | None]
"""From when to when; None for what was before the trace, or is not over."""

_EVER: Span = (None, None)


class TraceViews:
    """Makes the views of a trace's processes.

    :param host: the host's first process, if the trace tells of it.
    :param span: tells how long a container lived; its namespaces have been others' before and after that.
    """

    def __init__(self, trace: Trace, host: Process | None, span: Callable[[Container], Span]) -> None:
        self._trace = trace
        self._span = span
        told = max((int(part.environment.get(HOST_MNT_NS, 0)) for _, part in trace.parts), default=0)
        known = host.namespaces.get("mnt") if host is not None else None
        self._host = known or NamespaceInum(told)

    def of(self, process: Process, around: Sequence[Container], time: Nanoseconds | None) -> tuple[View, ...]:
        """Return the views of a process: the host's, then those of containers.

        :param around: the containers that it is in, the outermost first.
        :param time: when; None for the last that is known.
        """
        levels = process.users.levels.at(time) or ()
        spans = [self._span(container) for container in around]
        inside = _Place(process.namespaces.get("mnt"), spans[-1] if spans else _EVER)
        path = process.paths.at(time)
        views = [
            View(
                None,
                process.pid,
                levels[0].uid if levels else None,
                levels[0].gid if levels else None,
                self._path(path, inside, _Place(self._host, _EVER)),
            )
        ]
        for container, span in zip(around, spans, strict=True):
            spaces = container.namespaces
            user_ns = 0 if spaces is None else spaces.user
            seen = next((level for level in levels if level.user_ns == user_ns), None)
            at = len(container.pid_ns_ancestors)
            views.append(
                View(
                    container,
                    process.vpids[at] if at < len(process.vpids) else None,
                    None if seen is None else seen.uid,
                    None if seen is None else seen.gid,
                    self._path(path, inside, _Place(None if spaces is None else spaces.mnt, span)),
                )
            )
        return tuple(views)

    def _path(self, path: str | None, inside: _Place, viewer: _Place) -> str | None:
        if path is None or not inside.mnt_ns or not viewer.mnt_ns:
            return None
        if inside.mnt_ns == viewer.mnt_ns:
            return path
        own = self._table(inside.mnt_ns, inside.span)
        # What was told of the viewer when the container started was there then; what was told after its end was not.
        (begin, end), until = viewer.span, inside.span[1]
        span = begin, min((time for time in (end, until) if time is not None), default=None)
        others = self._table(viewer.mnt_ns, span, sure=inside.span[0])
        return None if own is None or others is None else translate(path, own, others)

    def _table(self, number: NamespaceInum, span: Span, sure: Nanoseconds | None = None) -> MountTable | None:
        """Return what was mounted in a namespace while its number meant it.

        :param sure: what was told then, or soon after, was there.
        """
        begin, end = span
        mounts: dict[int, Mount] = {}
        then: dict[int, Mount] = {}
        for time, identifier, mount in self._mounts.get(number, ()):
            if (begin is None or begin <= time) and (end is None or time <= end):
                mounts.pop(identifier, None)  # it comes after all that was there before
                mounts[identifier] = mount
                if sure is not None and sure <= time < sure + _ARRIVAL_NS:
                    then[identifier] = mount
        return MountTable(mounts.values(), then.values()) if mounts else None

    @cached_property
    def _mounts(self) -> Mapping[NamespaceInum, Sequence[tuple[Nanoseconds, int, Mount]]]:
        """The mounts by mount namespace, in the order in which they were told."""
        found: defaultdict[NamespaceInum, list[tuple[Nanoseconds, int, Mount]]] = defaultdict(list)
        if _MOUNT in self._trace.event_names():
            for event in self._trace.events(where=lambda event: event.name == _MOUNT):
                mount = Mount(event["dev"], event["root"], event["mount_point"])
                found[event["mnt_ns"]].append((event.timestamp or Nanoseconds(0), event["mount_id"], mount))
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    """A mount namespace, and while what the number meant it."""

    mnt_ns: NamespaceInum | None
    span: Span
