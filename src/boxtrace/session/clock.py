"""The trace clock: CLOCK_MONOTONIC, and what it was at when the epoch's clock was at a known time."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID

from boxtrace.ctf.lttng import CLOCK_NAME
from boxtrace.ctf.model import ClockClass
from boxtrace.units import Nanoseconds

__all__ = ["monotonic_clock", "monotonic_now"]

_SAMPLES = 16
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def monotonic_now() -> Nanoseconds:
    """Return the time of the trace clock."""
    return Nanoseconds(time.clock_gettime_ns(time.CLOCK_MONOTONIC))


def monotonic_clock() -> ClockClass:
    """Describe the trace clock now: its offset from the epoch is that of the quickest of some readings.

    Traces of one boot have equal clock uuids, the boot id: their times can be compared.
    """
    readings = []
    for _ in range(_SAMPLES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        readings.append((after - before, real - (before + after) // 2))
    _, offset = min(readings)
    return ClockClass(
        name=CLOCK_NAME,
        uid=str(UUID(_BOOT_ID.read_text(encoding="ascii").strip())),
        description="Monotonic Clock",
        frequency=1_000_000_000,
        offset_cycles=offset,
    )
