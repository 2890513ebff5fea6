"""The catalogue of system calls: numbers, names and arguments for the ABIs of x86 and ARM machines."""

from boxtrace.kernel.syscalls.catalogue import (
    Argument,
    Syscall,
    describe_arguments,
    load_arguments,
    load_names,
    syscall_table,
)
from boxtrace.kernel.syscalls.types import Abi

__all__ = ["Abi", "Argument", "Syscall", "describe_arguments", "load_arguments", "load_names", "syscall_table"]
