"""LTTng's kernel tracer and boxtrace, one after the other, in one virtual machine, record the same program."""

from __future__ import annotations

from pathlib import Path

from benchmarks.workload import compile_program
from vm.guest import add_boxtrace, add_commands
from vm.initramfs import Initramfs
from vm.kernels import fetch_debian_kernel
from vm.lttng import SETUP, add_lttng
from vm.machine import Result, run_in_machine

__all__ = ["record_both"]

TRACEPOINTS = ("sched_*", "signal_*", "irq_*", "net_*", "skb_*")
CONTEXTS = ("procname", "pid", "tid", "ppid", "vpid", "vtid")
NAMESPACES = ("cgroup_ns", "ipc_ns", "mnt_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns")
IDS = tuple(f"{virtual}{kind}{which}" for virtual in ("", "v") for kind in ("", "e", "s") for which in ("uid", "gid"))

JOB = f"""
set -e
{SETUP}
lttng create both --output=/out/lttng >/dev/null
lttng enable-channel --kernel --subbuf-size=4M --num-subbuf=4 all >/dev/null
for context in {" ".join(CONTEXTS + NAMESPACES)}; do
    lttng add-context --kernel --channel=all --type=$context >/dev/null || true # LTTng cannot tell some here
done
lttng enable-event --kernel --channel=all --syscall --all >/dev/null
for pattern in {" ".join(f"'{pattern}'" for pattern in TRACEPOINTS)}; do
    lttng enable-event --kernel --channel=all "$pattern" >/dev/null || true
done
lttng start >/dev/null
env -i setarch -R /bin/scripted
lttng stop >/dev/null
lttng destroy >/dev/null
boxtrace record -o /out/boxtrace --subbuf-size 4M --num-subbuf 4 --context {",".join(CONTEXTS + NAMESPACES)} \\
    -e 'syscall_*' {" ".join(f"-e '{pattern}'" for pattern in TRACEPOINTS)} -- /bin/started

"""


def record_both(directory: Path) -> Result:
    """Record; the traces are ``lttng`` and ``boxtrace`` among the files of the result."""
    kernel = fetch_debian_kernel()
    files = Initramfs()
    add_boxtrace(files)
    add_lttng(files, kernel)
    add_commands(files, "setarch")
    program = compile_program(Path(__file__).parent.parent / "vm/scripted.c", directory / "scripted")
    files.add_file(program, "/bin/scripted")
    files.add_bytes("/bin/started", b"#!/bin/sh\nenv -i setarch -R /bin/scripted\n", executable=True)
    output = directory / "out"
    output.mkdir()
    return run_in_machine(kernel, files, JOB, output, timeout=600)
