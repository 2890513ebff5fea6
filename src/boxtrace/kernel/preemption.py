"""Where the running kernel keeps its count of reasons not to preempt, for the contexts that are made of it."""

from __future__ import annotations

import platform

from boxtrace.errors import CapabilityError
from boxtrace.kernel.btf import kernel_btf

__all__ = ["find_preempt_count"]

# Variables that hold the count, and where in them. Linux 6.2 to 6.14 have it behind the current task's address
# (arch/x86/include/asm/current.h). Not by CO-RE: for a type that the kernel lacks, libbpf searches the modules' types,
# and that takes CAP_SYS_ADMIN.
_VARIABLES = {"__preempt_count": 0, "pcpu_hot": 8}
_RUN_QUEUE = "runqueues"


def find_preempt_count(contexts: frozenset[str], machine: str | None = None) -> int:
    """Find the count if one of these contexts is made of it: its distance in bytes from a CPU's run queue.

    :param machine: as ``uname -m`` tells it; this one's by default. Where it is not x86-64 the count is in the task.
    :return: 0 where it is not needed or not known.
    :raises CapabilityError: if ``preemptible`` is among them and the kernel does not tell where it is.
    """
    if (machine or platform.machine()) != "x86_64" or not contexts & {"preemptible", "interruptible"}:
        return 0
    btf = kernel_btf()
    places = ((btf.per_cpu(name), inside) for name, inside in _VARIABLES.items())
    place = next((start + inside for start, inside in places if start is not None), None)
    queue = btf.per_cpu(_RUN_QUEUE) if btf.has_member("cfs_rq", "rq") else None
    if place is not None and queue is not None:
        return place - queue
    if "preemptible" in contexts:
        raise CapabilityError(
            "the context 'preemptible' needs a kernel that tells where its count of reasons not to preempt is",
            missing=("CONFIG_FAIR_GROUP_SCHED",),
            hint=f"its type information has no {next(iter(_VARIABLES))}, or no {_RUN_QUEUE}; leave the context out",
        )
    return 0
