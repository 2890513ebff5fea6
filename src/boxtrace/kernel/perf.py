"""Performance counters of the kernel, of a CPU or of a thread, whose values contexts show (perf_event_open(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from boxtrace.errors import CapabilityError, UsageError

__all__ = [
    "ATTRIBUTE_SIZE",
    "PerfCounter",
    "open_counter",
    "open_on_each_cpu",
    "open_thread_counter",
    "parse_counter",
    "parse_thread_counter",
]

# include/uapi/linux/perf_event.h
_HARDWARE, _SOFTWARE, _CACHE, _RAW = 0, 1, 3, 4
ATTRIBUTE_SIZE: Final = 112
_CLOSE_ON_EXEC = 8
_EXCLUDE_KERNEL, _REMOVE_ON_EXEC = 1 << 5, 1 << 36
_PARANOID_KERNEL: Final = 2
"""From this ``kernel.perf_event_paranoid`` on, users without privilege may not measure the kernel."""
_SYSCALLS: Final = {"x86_64": 298, "aarch64": 241}

_CACHES = {"L1-dcache": 0, "L1-icache": 1, "LLC": 2, "dTLB": 3, "iTLB": 4, "branch": 5}
_OPERATIONS = {"load": 0, "store": 1, "prefetch": 2}

_EVENTS: Final[Mapping[str, tuple[int, int]]] = {
    "cpu-cycles": (_HARDWARE, 0),
    "cycles": (_HARDWARE, 0),
    "instructions": (_HARDWARE, 1),
    "cache-references": (_HARDWARE, 2),
    "cache-misses": (_HARDWARE, 3),
    "branch-instructions": (_HARDWARE, 4),
    "branches": (_HARDWARE, 4),
    "branch-misses": (_HARDWARE, 5),
    "bus-cycles": (_HARDWARE, 6),
    "stalled-cycles-frontend": (_HARDWARE, 7),
    "idle-cycles-frontend": (_HARDWARE, 7),
    "stalled-cycles-backend": (_HARDWARE, 8),
    "idle-cycles-backend": (_HARDWARE, 8),
    "cpu-clock": (_SOFTWARE, 0),
    "task-clock": (_SOFTWARE, 1),
    "page-fault": (_SOFTWARE, 2),
    "page-faults": (_SOFTWARE, 2),
    "faults": (_SOFTWARE, 2),
    "context-switches": (_SOFTWARE, 3),
    "cs": (_SOFTWARE, 3),
    "cpu-migrations": (_SOFTWARE, 4),
    "migrations": (_SOFTWARE, 4),
    "minor-faults": (_SOFTWARE, 5),
    "major-faults": (_SOFTWARE, 6),
    "alignment-faults": (_SOFTWARE, 7),
    "emulation-faults": (_SOFTWARE, 8),
    **{
        f"{cache}-{operation}{suffix}": (_CACHE, number | operation_number << 8 | result << 16)
        for cache, number in _CACHES.items()
        for operation, operation_number in _OPERATIONS.items()
        for suffix, result in (("s", 0), ("es" if operation == "prefetch" else "s", 0), ("-misses", 1))
    },
}
_RAW_NAME = re.compile(r"raw:r([0-9a-fA-F]{1,16}):(.+)")


@dataclass(frozen=True, slots=True)
class PerfCounter:
    """A counter.

    :param name: as the user gave it, without ``perf:cpu:``.
    :param type: ``perf_event_attr.type``.
    :param config: ``perf_event_attr.config``.
    :param scope: ``cpu`` or ``thread``.
    """

    name: str
    type: int
    config: int
    scope: str = "cpu"

    @property
    def field_name(self) -> str:
        """LTTng's name of the context field: ``_`` stands for all that is no letter or digit."""
        return f"perf_{self.scope}_" + re.sub(r"[^0-9A-Za-z]", "_", self.name)

    @property
    def context_name(self) -> str:
        """LTTng's name of the context."""
        return f"perf:{self.scope}:{self.name}"


def parse_counter(name: str) -> PerfCounter:
    """Return the counter of LTTng's name for it: ``page-faults``, ``cycles``, ``raw:r01c2:NAME``.

    :raises UsageError: for another name.
    """
    raw = _RAW_NAME.fullmatch(name)
    if raw:
        return PerfCounter(raw[2], _RAW, int(raw[1], 16))
    if name not in _EVENTS:
        raise UsageError(f"there is no perf counter {name!r}", hint=f"one of: {', '.join(_EVENTS)}, raw:rHEX:NAME")
    return PerfCounter(name, *_EVENTS[name])


def parse_thread_counter(context: str) -> PerfCounter:
    """Return the counter of a context ``perf:thread:NAME``.

    :raises UsageError: for another name.
    """
    return replace(parse_counter(context.removeprefix("perf:thread:")), scope="thread")


@contextmanager
def _closed_on_error(descriptors: dict[int, int]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise


def open_counter(counter: PerfCounter, cpus: int) -> dict[int, int]:
    """Open a counter on each CPU that is online; return their descriptors by CPU. They count from now on.

    :param cpus: how many CPU numbers there may be.
    :raises CapabilityError: if this machine does not have it, or this process may not use it.
    """
    if platform.machine() not in _SYSCALLS:
        raise CapabilityError(f"perf counters on {platform.machine()} machines are not supported")
    try:
        return open_on_each_cpu(struct.pack("<IIQ", counter.type, ATTRIBUTE_SIZE, counter.config), cpus)
    except OSError as error:
        raise _refused(counter, error.errno or errno.EIO) from error


def open_thread_counter(counter: PerfCounter, tid: int) -> int:
    """Open a counter of one thread, 0 for the calling one; return a descriptor, of which the value can be read.

    It may be handed to the thread's program: what the kernel does is only counted if the program may know that. It
    ends when the thread executes another program.

    :raises CapabilityError: if this machine does not have it, or this process may not use it, or the thread is gone.
    """
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise CapabilityError(f"perf counters on {platform.machine()} machines are not supported")
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    hidden = _EXCLUDE_KERNEL if counter.type != _SOFTWARE and paranoid >= _PARANOID_KERNEL else 0
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (hidden | _REMOVE_ON_EXEC, hidden):  # before Linux 5.13 there is no such flag
        attribute = struct.pack("<IIQQQQQ", counter.type, ATTRIBUTE_SIZE, counter.config, 0, 0, 0, flags)
        whole = attribute.ljust(ATTRIBUTE_SIZE, b"\0")
        descriptor: int = libc.syscall(number, whole, tid, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
        if descriptor >= 0:
            return descriptor
    raise _refused(counter, ctypes.get_errno())


def open_on_each_cpu(attribute: bytes, cpus: int) -> dict[int, int]:
    """Open an event for all tasks on each CPU that is online; return the descriptors by CPU.

    :param attribute: the beginning of its ``struct perf_event_attr``; the rest is 0.
    :raises OSError: if that is not possible.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    whole = attribute.ljust(ATTRIBUTE_SIZE, b"\0")
    descriptors: dict[int, int] = {}
    with _closed_on_error(descriptors):
        for cpu in range(cpus):
            descriptor = libc.syscall(number, whole, -1, cpu, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
            code = ctypes.get_errno()
            if descriptor >= 0:
                descriptors[cpu] = descriptor
            elif code != errno.ENODEV:
                raise OSError(code, os.strerror(code))
        if not descriptors:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return descriptors


def _refused(counter: PerfCounter, code: int) -> CapabilityError:
    if code in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL):
        return CapabilityError(
            f"this machine has no perf counter {counter.name!r}: {os.strerror(code)}",
            missing=(counter.context_name,),
            hint="virtual machines often have software counters only: page-faults, context-switches, cpu-migrations",
        )
    return CapabilityError(
        f"perf counter {counter.name!r} cannot be opened: {os.strerror(code)}",
        missing=(counter.context_name,),
    )
