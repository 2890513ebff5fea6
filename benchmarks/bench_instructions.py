"""What a system call costs in instructions: in a virtual machine whose clock counts them, on the kernel of Debian 12.

The same measurement as :mod:`benchmarks.bench_syscall`, but exact and the same everywhere: an instruction takes 1 ns
there, whatever it does. It says nothing of caches and of how long an instruction takes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.bench_syscall import Cost
from benchmarks.report import format_table
from benchmarks.workload import build_tools
from vm.guest import SITE, add_boxtrace, add_commands
from vm.initramfs import Initramfs
from vm.kernels import fetch_debian_kernel
from vm.lttng import SETUP, add_lttng
from vm.machine import run_in_machine

__all__ = ["format_instructions", "measure_instructions"]

_GUEST = """
import json
from dataclasses import asdict
from pathlib import Path
from benchmarks.bench_syscall import measure
from benchmarks.workload import Tools

tools = Tools(Path("/bench/syscalls"), Path("/bench/empty.bpf.o"))
costs, _ = measure(tools, rounds=1, calls=500, cpu=0)
Path("/out/costs.json").write_text(json.dumps([asdict(cost) for cost in costs]))
"""


def measure_instructions(timeout: float = 900) -> list[Cost]:
    """Boot the machine and measure every tracer that works there.

    :raises RuntimeError: when the measurement failed, with what it printed.
    """
    files = Initramfs()
    add_boxtrace(files)
    add_commands(files, "unshare")
    kernel = fetch_debian_kernel()
    add_lttng(files, kernel)
    files.add_tree(Path(__file__).parent, f"{SITE}/benchmarks")
    files.add_bytes("/bench/measure.py", _GUEST.encode())
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as directory:
        tools = build_tools(Path(directory))
        files.add_file(tools.program, "/bench/syscalls")
        files.add_file(tools.empty, "/bench/empty.bpf.o")
        output = Path(directory) / "out"
        output.mkdir()
        script = f"{SETUP}PYTHONPATH={SITE} python3 /bench/measure.py"
        result = run_in_machine(kernel, files, script, output, count_instructions=True, timeout=timeout)
        if result.status != 0:
            raise RuntimeError(f"measuring failed:\n{result.log}")
        return [Cost(**cost) for cost in json.loads((output / "costs.json").read_text(encoding="utf-8"))]


def format_instructions(costs: list[Cost]) -> str:
    """Return the table."""
    rows = [[cost.tracer, f"{cost.median:.0f}", f"{cost.added:+.0f}", f"{cost.added / 2:.0f}"] for cost in costs]
    return format_table(["", "instructions", "added", "per event"], rows)
