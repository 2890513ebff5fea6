"""What the running kernel and this process's privileges allow, asked by feature and not by version."""

from __future__ import annotations

import os
import re
from pathlib import Path

from boxtrace import _native
from boxtrace.errors import CapabilityError
from boxtrace.kernel.btf import kernel_btf

__all__ = [
    "counts_skipped_tracepoints",
    "exit_has_group_dead",
    "function_refused",
    "oom_has_task",
    "require_recording",
    "traces_functions",
]

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN = 21
_NEEDED = {"CAP_SYS_PTRACE": 19, "CAP_PERFMON": 38, "CAP_BPF": 39}
_BTF = Path("/sys/kernel/btf/vmlinux")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_TRACED_FUNCTIONS = Path("/sys/kernel/tracing/available_filter_functions")
_SWITCH_ARGUMENTS = 4
_COUNTS_SKIPPED = (6, 7)


def _btf() -> _native.KernelBtf:
    try:
        return kernel_btf()
    except OSError as error:
        raise _no_btf() from error


def _no_btf() -> CapabilityError:
    return CapabilityError(
        f"the kernel has no type information ({_BTF})",
        missing=("BTF",),
        hint="a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed, as all current distributions ship",
    )


def missing_capabilities(status: str) -> tuple[str, ...]:
    """Return the capabilities for recording that ``/proc/self/status`` says this process does not have."""
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    if effective >> _CAP_SYS_ADMIN & 1:
        return ()
    return tuple(name for name, number in _NEEDED.items() if not effective >> number & 1)


def require_recording() -> None:
    """Check what every recording needs.

    :raises CapabilityError: that names what is missing and what to do about it.
    """
    missing = missing_capabilities(Path("/proc/self/status").read_text(encoding="ascii"))
    if missing:
        raise CapabilityError(
            f"recording needs privileges that this process does not have: {', '.join(missing)}",
            missing=missing,
            hint="run it as root: sudo boxtrace record ...",
        )
    if "[confidentiality]" in (_LOCKDOWN.read_text(encoding="ascii") if _LOCKDOWN.exists() else ""):
        raise CapabilityError(
            "the kernel is locked down for confidentiality and lets nobody read its memory by BPF",
            missing=("lockdown",),
            hint="boot with lockdown=integrity or lockdown=none",
        )
    if not _BTF.exists():
        raise _no_btf()
    if _btf().tracepoint_arguments("sched_switch") < _SWITCH_ARGUMENTS:
        raise CapabilityError(
            "the kernel is too old: its sched_switch does not tell the state of the task that leaves",
            missing=("sched_switch prev_state",),
            hint="Linux 5.18 or later is needed",
        )


def exit_has_group_dead() -> bool:
    """Whether ``sched_process_exit`` tells that the thread was the last of its process (Linux >= 6.16)."""
    return _btf().tracepoint_arguments("sched_process_exit") > 1


def oom_has_task() -> bool:
    """Whether ``oom/mark_victim`` passes the victim itself (Linux >= 6.9) and not its number."""
    return _btf().tracepoint_arguments("mark_victim") > 1


def traces_functions() -> bool:
    """Whether the kernel lets functions be traced at all: fentry and fexit programs use the places that ftrace does."""
    try:
        with _TRACED_FUNCTIONS.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def function_refused(function: str, error: OSError) -> CapabilityError:
    """Return the error for a function that the kernel does not let be traced, with what is known of the reason."""
    hint = None
    try:
        lines = _TRACED_FUNCTIONS.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        hint = "this kernel was built without CONFIG_FUNCTION_TRACER"
    except OSError as denied:
        hint = f"this kernel permits no tracing of functions: {_TRACED_FUNCTIONS}: {denied.strerror}"
    else:
        if not any(line.split(maxsplit=1)[0] == function for line in lines if line):
            hint = f"{_TRACED_FUNCTIONS} does not list it"
    return CapabilityError(
        f"the kernel does not let kernel function {function!r} be traced: {os.strerror(error.errno or 0)}",
        missing=(f"fentry of {function}",),
        hint=hint,
    )


def counts_skipped_tracepoints(release: str | None = None) -> bool:
    """Whether the kernel counts the runs of a tracepoint's program that it skips (``recursion_misses``).

    Linux 6.7 and later do. Nothing but the version tells: the change is inside of functions.

    :param release: as ``uname -r`` tells it; this kernel's by default.
    """
    version = re.match(r"(\d+)\.(\d+)", release or os.uname().release)
    return version is not None and (int(version[1]), int(version[2])) >= _COUNTS_SKIPPED
