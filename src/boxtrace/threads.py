"""Threads whose work is not urgent."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from contextlib import suppress
from typing import Final

__all__ = ["stand_back"]

_SLICE_NS: Final = 20_000_000
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call (asm/unistd.h); libc has no function for it."""
_ATTR: Final = struct.Struct("=IIQiIQQQII")
"""``struct sched_attr`` (include/uapi/linux/sched/types.h) with all of its members since Linux 5.3."""


def stand_back() -> None:
    """Have the running thread interrupt nobody, and be interrupted by whoever wakes up (sched(7)).

    Woken up, it waits until who runs has used its time (SCHED_BATCH). Where threads may ask for time slices, since
    Linux 6.12, it has a long one: a task with a usual one that wakes up need then not wait until this thread has used
    its own.
    It gets its share of the CPUs as before, so it holds no lock longer than others let it.
    """
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            _take_long_slices()


def _take_long_slices() -> None:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTR.pack(_ATTR.size, os.SCHED_BATCH, 0, nice, 0, _SLICE_NS, 0, 0, 0, 0)
    # What fails leaves all as it is.
    ctypes.CDLL(None, use_errno=True).syscall(number, 0, ctypes.create_string_buffer(attributes), 0)
