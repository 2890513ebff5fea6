"""Threads whose work is not urgent."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["stand_back"]


def stand_back() -> None:
    """Have the running thread interrupt nobody: woken up, it waits until whoever runs has used its time (sched(7)).

    It gets its share of the CPUs as before, so it holds no lock longer than others let it.
    """
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
