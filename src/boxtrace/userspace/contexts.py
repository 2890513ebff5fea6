"""Contexts that differ from event to event: the client writes those that it knows, between header and fields."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from boxtrace.ctf.fields import DisplayBase, IntegerField, Member, StructField
from boxtrace.errors import BoxtraceError

__all__ = ["IP", "MAX_COUNTERS", "EventContexts", "ThreadCounter"]

IP: Final = "ip"
MAX_COUNTERS: Final = 8
_IP_BIT: Final = 1
_COUNTER_BIT: Final = 2


@dataclass(frozen=True, slots=True)
class ThreadCounter:
    """Counts something of each thread.

    :param field: name of the context's field.
    :param open: opens it for a thread, by its id on the host: a descriptor of which 64 bits can be read. Raises
        OSError or BoxtraceError.
    """

    field: str
    open: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class EventContexts:
    """What a host would like to have in each record.

    :param ip: the place in the program (bit 0 of masks).
    :param counters: at most :data:`MAX_COUNTERS` (the bits from 1 on).
    """

    ip: bool = False
    counters: tuple[ThreadCounter, ...] = ()

    @property
    def mask(self) -> int:
        """Bits of all that are wanted."""
        return _IP_BIT * self.ip | ((1 << len(self.counters)) - 1) * _COUNTER_BIT

    def parts(self, mask: int) -> tuple[tuple[int, int], ...]:
        """Return how much of a record they are, as of :attr:`Declaration.parts`: 64 bits each."""
        return ((0, 8 * mask.bit_count()),) if mask else ()

    def fields(self, mask: int) -> StructField | None:
        """Return the contexts of records that have those of a mask; None if these are none."""
        members = [Member(IP, IntegerField(size=64, base=DisplayBase.HEXADECIMAL))] if mask & _IP_BIT else []
        members += [Member(counter.field, IntegerField(size=64)) for counter in self._counters(mask)]
        return StructField(members=tuple(members)) if members else None

    def has_counters(self, mask: int) -> bool:
        """Tell whether there is a counter among those of a mask."""
        return bool(self._counters(mask))

    def open_counters(self, mask: int, tid: int) -> tuple[int, ...]:
        """Open a thread's counters of a mask; return their descriptors, none if one cannot be opened."""
        opened: list[int] = []
        try:
            for counter in self._counters(mask):
                opened.append(counter.open(tid))
        except (BoxtraceError, OSError):
            for descriptor in opened:
                os.close(descriptor)
            return ()
        return tuple(opened)

    def _counters(self, mask: int) -> tuple[ThreadCounter, ...]:
        return tuple(each for number, each in enumerate(self.counters) if mask & _COUNTER_BIT << number)
