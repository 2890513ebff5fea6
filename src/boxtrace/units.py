"""Quantities that must not be mixed up, as distinct types for the type checker (plain ``int`` at run time); how people
write sizes and times."""

from __future__ import annotations

import re
from typing import NewType

__all__ = ["CgroupId", "NamespaceInum", "Nanoseconds", "Pid", "Tid", "parse_seconds", "parse_size"]

_SIZE = re.compile(r"(\d+)([kKmMgG]?)(?:i?[bB])?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Nanoseconds = NewType("Nanoseconds", int)
"""A time stamp or duration in ns. Time stamps of events are CLOCK_MONOTONIC unless said otherwise."""

Pid = NewType("Pid", int)
"""A process id (the kernel's tgid) in the initial pid namespace."""

Tid = NewType("Tid", int)
"""A thread id (the kernel's pid) in the initial pid namespace."""

NamespaceInum = NewType("NamespaceInum", int)
"""Inode number of a namespace in nsfs, as ``lsns`` and ``/proc/PID/ns`` show it; 0 means none."""

CgroupId = NewType("CgroupId", int)
"""kernfs id of a cgroup (the inode number of its directory), unique within one hierarchy."""


def parse_size(text: str) -> int:
    """Return a number of bytes: ``65536``, ``64k``, ``1M``.

    :raises ValueError: for anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 64k or 1M")
    return int(match[1]) * _FACTORS[match[2].lower()]


def parse_seconds(text: str) -> float:
    """Return a time in seconds: ``10`` or ``10s``, ``200ms``, ``5m``, ``1h``.

    :raises ValueError: for anything else.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 10s, 200ms or 5m")
    return float(match[1]) * _SECONDS[match[2] or "s"]
