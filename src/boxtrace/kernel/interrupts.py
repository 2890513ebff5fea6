"""Asking the kernel whether interrupts are enabled, for the context ``interruptible``.

BPF has no instruction for that. Since Linux 6.14 a program may disable interrupts for a while (``bpf_local_irq_save``,
kernel/bpf/helpers.c): that writes the flags of before to the program's stack, where they can be read. The function is
called by the number of its type, which is put into the code before it is loaded: for a function that the kernel lacks,
libbpf would search the types of all modules, and that takes CAP_SYS_ADMIN.
"""

from __future__ import annotations

import platform

from boxtrace.kernel.btf import kernel_btf
from boxtrace.kernel.patch import KFUNC, pack_code

__all__ = ["PLACEHOLDER", "interrupts_code"]

PLACEHOLDER = "interrupts_code"
"""The function of contexts.bpf.h in whose place the code is put; it answers -1: it cannot be known."""

_FLAGS_BIT = {"x86_64": 9}
"""The bit of the saved flags that is set while interrupts are enabled (X86_EFLAGS_IF), by machine."""

_PROBE_READ_KERNEL = 113  # enum bpf_func_id in include/uapi/linux/bpf.h


def interrupts_code(machine: str | None = None) -> bytes | None:
    """Return the code of a function that answers 1 where interrupts are enabled, else 0; None if there cannot be any.

    :param machine: as ``uname -m`` tells it; this one's by default.
    """
    bit = _FLAGS_BIT.get(machine or platform.machine())
    btf = kernel_btf()
    save, restore = btf.function_id("bpf_local_irq_save"), btf.function_id("bpf_local_irq_restore")
    if bit is None or not save or not restore:
        return None
    slot = ((0xBF, 1, 10, 0, 0), (0x07, 1, 0, 0, -8))  # r1 = r10 - 8
    return pack_code(
        *slot,
        (0x85, 0, KFUNC, 0, save),
        (0xBF, 1, 10, 0, 0),
        (0x07, 1, 0, 0, -16),  # r1 = r10 - 16: a copy, since the slot itself may not be looked at
        (0xB7, 2, 0, 0, 8),
        (0xBF, 3, 10, 0, 0),
        (0x07, 3, 0, 0, -8),
        (0x85, 0, 0, 0, _PROBE_READ_KERNEL),
        (0x79, 6, 10, -16, 0),  # r6 = the copy
        *slot,
        (0x85, 0, KFUNC, 0, restore),
        (0xBF, 0, 6, 0, 0),
        (0x77, 0, 0, 0, bit),  # r0 = r6 >> bit & 1
        (0x57, 0, 0, 0, 1),
        (0x95, 0, 0, 0, 0),
    )
