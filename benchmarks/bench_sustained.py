"""How many events per second boxtrace records while every CPU does nothing but system calls, and what that costs."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import format_table
from benchmarks.tracers import recording
from benchmarks.workload import Workload, build_workload

__all__ = ["Sustained", "format_sustained", "measure_sustained"]

_EVENTS_PER_CALL = 2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sustained:
    """One recording of all CPUs busy.

    :param contexts: which contexts each event has.
    :param seconds: that the workloads took.
    :param produced: events that the workloads made: two for each of their calls.
    :param recorded: of these.
    :param lost: of these, as boxtrace counted them.
    :param size: bytes of the trace.
    :param consumer: CPU time of the recording process, in CPUs.
    """

    contexts: str
    seconds: float
    produced: int
    recorded: int
    lost: int
    size: int
    consumer: float

    @property
    def unaccounted(self) -> int:
        """Events that are neither recorded nor counted as lost: must be 0."""
        return self.produced - self.recorded - self.lost

    @property
    def rate(self) -> float:
        """Recorded events per second."""
        return self.recorded / self.seconds


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure_sustained(contexts: str, calls: int, directory: Path | None = None) -> Sustained:
    """Let one process per CPU make system calls, and record both events of every call.

    :param contexts: ``all`` or ``none``.
    :param calls: of each process.
    :param directory: where to write the trace; in memory, if None.
    """
    chosen = ["--context", "none"] if contexts == "none" else []
    cpus = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        place = directory or Path("/dev/shm")
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="boxtrace-bench-", dir=place)))
        program = build_workload(scratch)
        busy = [stack.enter_context(Workload(program, cpu=cpu, batches=1, calls=calls)) for cpu in cpus]
        pids = [word for workload in busy for word in ("--pid", str(workload.pid))]
        options = [*chosen, *pids, "-e", "syscall_*_getppid", "--no-state-dump"]
        trace = scratch / "trace"
        with recording(trace, *options, cpu=None) as result:
            before = _cpu_seconds(result.process.pid)
            for workload in busy:
                workload.go()
            took = [workload.wait().took[0] for workload in busy]
            used = _cpu_seconds(result.process.pid) - before
        seconds = max(took) / 1e9
        size = sum(path.stat().st_size for path in trace.rglob("*") if path.is_file())
    produced = _EVENTS_PER_CALL * calls * len(cpus)
    return Sustained(contexts, seconds, produced, result.recorded, result.lost, size, used / seconds)


def format_sustained(results: list[Sustained]) -> str:
    """Return the table."""
    rows = [
        [
            f"contexts: {result.contexts}",
            f"{result.rate / 1e6:.2f} M",
            f"{result.recorded:,}",
            f"{result.lost:,}",
            f"{result.unaccounted:,}",
            f"{result.size / result.recorded:.1f}",
            f"{100 * result.consumer:.0f} %",
        ]
        for result in results
    ]
    return format_table(
        ["all CPUs busy", "events/s", "recorded", "lost", "unaccounted", "bytes/event", "consumer"], rows
    )
