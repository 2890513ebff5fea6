"""The system calls of the machine that this runs on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from boxtrace.errors import CapabilityError
from boxtrace.kernel.catalogue import OWN_TRACEPOINTS
from boxtrace.kernel.syscalls import Abi, Syscall, describe_arguments, syscall_table
from boxtrace.kernel.tracefs import Tracefs
from boxtrace.kernel.tracepoints import Tracepoints

__all__ = ["machine_abis", "machine_syscalls", "machine_tracepoints"]

_ABIS = {"x86_64": (Abi.X86_64, Abi.I386), "aarch64": (Abi.AARCH64, Abi.ARM)}


def machine_abis() -> tuple[Abi, Abi]:
    """Return the ABI of this machine's 64-bit and of its 32-bit programs.

    :raises CapabilityError: for a machine that is not supported.
    """
    machine = platform.machine()
    if machine not in _ABIS:
        raise CapabilityError(f"{machine} machines are not supported", hint="x86_64 and aarch64 are")
    return _ABIS[machine]


def machine_syscalls(warn: Callable[[str], None]) -> tuple[Mapping[int, Syscall], Mapping[int, Syscall]]:
    """Return the system calls, by number, of 64-bit and of 32-bit programs.

    :param warn: told when the running kernel's own descriptions cannot be read.
    """
    native, compat = machine_abis()
    try:
        descriptions = describe_arguments(Tracefs.find())
    except CapabilityError as error:
        warn(f"{error}: arguments of system calls are named by boxtrace's own tables ({error.hint})")
        descriptions = {}
    return syscall_table(native, descriptions), syscall_table(compat, descriptions)


def machine_tracepoints() -> Tracepoints:
    """Return the tracepoints that have no program of their own.

    :raises CapabilityError: when tracefs cannot be read.
    """
    return Tracepoints(Tracefs.find(), OWN_TRACEPOINTS)
