"""Values that change over the time of a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from boxtrace.units import Nanoseconds

__all__ = ["History"]

T = TypeVar("T")


@dataclass(slots=True)
class History(Generic[T]):
    """What was told of one thing, in the order of time.

    :ivar entries: (from when, what); None as a time is "from before the trace".
    """

    entries: list[tuple[Nanoseconds | None, T]] = field(default_factory=list)
    _heirs: list[tuple[Nanoseconds | None, History[T]]] = field(default_factory=list, compare=False, repr=False)

    def note(self, time: Nanoseconds | None, value: T) -> None:
        """Take a value that holds from this time on."""
        if not self.entries or self.entries[-1][1] != value:
            self.entries.append((time, value))

    def note_dumped(self, time: Nanoseconds | None, value: T) -> None:
        """Take a value that a state dump tells: it has held before, as far as nothing else was told."""
        if self.entries:
            self.note(time, value)
        else:
            self._begin(None, value)

    def inherit(self, time: Nanoseconds | None, parent: History[T]) -> None:
        """Take over what the parent has at a fork, now or when it becomes known that it had it then."""
        if parent.entries:
            self.note(time, parent.entries[-1][1])
        else:
            parent._heirs.append((time, self))

    def _begin(self, time: Nanoseconds | None, value: T) -> None:
        """Put what held at first before what is known already, here and with who has inherited it."""
        if not self.entries or self.entries[0][1] != value:
            self.entries.insert(0, (time, value))
        for fork, heir in self._heirs:
            heir._begin(fork, value)
        self._heirs.clear()

    def at(self, time: Nanoseconds | None = None) -> T | None:
        """Return what held at a time, without one the last; None when that is not known."""
        found = None
        for since, value in self.entries:
            if since is not None and time is not None and since > time:
                break
            found = value
        return found
