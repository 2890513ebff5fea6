"""How long it takes until something happens: until the first event of a recording, until the help text."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.report import format_table
from benchmarks.tracers import BOXTRACE
from boxtrace.trace import open_trace

__all__ = ["StartCost", "format_starts", "measure_starts"]


@dataclass(frozen=True, slots=True)
class StartCost:
    """What one command takes.

    :param wall_ms: until its first event, or until its end; the median.
    :param cpu_ms: of the whole command, its own and the kernel's for it; the median.
    """

    what: str
    wall_ms: float
    cpu_ms: float


def measure_starts(rounds: int) -> list[StartCost]:
    """Run each command a number of times, in turn."""
    commands: dict[str, Sequence[str]] = {
        "boxtrace record, first event": (*BOXTRACE, "record", "-q", "-o", "TRACE", "--", "true"),
        "boxtrace --help": (*BOXTRACE, "--help"),
    }
    if perf := shutil.which("perf"):
        commands["perf record -a, whole"] = (
            *(perf, "record", "-q", "-a", "-e", "raw_syscalls:*,sched:*", "-o", "TRACE", "--", "true"),
        )
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as directory:
        for run in range(rounds):
            for number, (what, command) in enumerate(commands.items()):
                trace = Path(directory) / f"trace-{run}-{number}"
                taken[what].append(_take([str(trace) if part == "TRACE" else part for part in command], trace))
    return [
        StartCost(what, *(median(column) for column in zip(*all_of, strict=True))) for what, all_of in taken.items()
    ]


def _take(command: Sequence[str], trace: Path) -> tuple[float, float]:
    before, started = os.times(), time.time_ns()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    ended, after = time.time_ns(), os.times()
    if trace.is_dir():
        ended = next(event.timestamp for event in open_trace(trace).events() if event.timestamp is not None)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (ended - started) / 1e6, cpu * 1000


def format_starts(costs: Sequence[StartCost]) -> str:
    """Return a table."""
    rows = [[cost.what, f"{cost.wall_ms:.0f}", f"{cost.cpu_ms:.0f}"] for cost in costs]
    return format_table(["", "ms", "ms of CPU, whole"], rows)
