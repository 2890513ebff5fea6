"""What threads were before: changes of their namespaces and names, which events are told apart by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from boxtrace.units import NamespaceInum
from boxtrace.userspace.identity import Thread

__all__ = ["TaskChange", "TaskHistory", "TaskSource"]

_MAX_TASKS: Final = 16384
_MAX_CHANGES: Final = 64


@dataclass(frozen=True, slots=True)
class TaskChange:
    """From a time on, a thread has these namespaces, or this name.

    :param time: ns of CLOCK_MONOTONIC.
    :param namespaces: by kind; those that are not told are what they were.
    """

    time: int
    pid: int
    tid: int
    name: bytes | None = None
    namespaces: Mapping[str, NamespaceInum] | None = None

    def apply(self, thread: Thread) -> Thread:
        """Return what a thread is after the change."""
        if self.namespaces is not None:
            thread = replace(thread, namespaces=replace(thread.namespaces, **self.namespaces))
        return thread if self.name is None else replace(thread, name=self.name)


class TaskSource(Protocol):
    """Tells of changes, of any thread of the machine, before that thread runs on."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Become readable when there is much to read."""

    def read(self) -> Iterable[TaskChange | None]:
        """Yield what is new; None where some was lost."""

    def close(self) -> None:
        """End it."""


class TaskHistory:
    """The latest changes of the threads that changed last; of those forgotten, ``/proc`` tells what they are now."""

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._changes: OrderedDict[int, list[TaskChange]] = OrderedDict()
        self.descriptors = tuple(source.descriptors)

    def update(self) -> None:
        """Take what is new."""
        for change in self._source.read():
            if change is None:
                self._changes.clear()
                continue
            changes = self._changes.setdefault(change.tid, [])
            changes.append(change)
            if len(changes) > 1 and changes[-2].time > change.time:  # the thread has been on several CPUs
                changes.sort(key=lambda item: item.time)
            del changes[:-_MAX_CHANGES]
            self._changes.move_to_end(change.tid)
            if len(self._changes) > _MAX_TASKS:
                self._changes.popitem(last=False)

    def after(self, tid: int, time: int) -> list[TaskChange]:
        """Return a thread's changes later than a time, in order."""
        return [change for change in self._changes.get(tid, ()) if change.time > time]

    def is_thread(self, tid: int, pid: int) -> bool:
        """Tell whether a thread that need not exist any more is known to be, or to have been, one of a process."""
        changes = self._changes.get(tid)
        return changes is not None and changes[-1].pid == pid

    def close(self) -> None:
        """End it."""
        self._source.close()
