"""What a system call costs under each tracer: interleaved rounds, median of the medians, wall clock."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import format_table
from benchmarks.tracers import TRACERS, Recording, Tracer
from benchmarks.workload import Tools, Workload

__all__ = ["Cost", "format_costs", "measure"]

_BATCHES = 40


@dataclass(frozen=True, slots=True)
class Cost:
    """What a system call took under one tracer.

    :param rounds: ns per call in each round, the median of its batches.
    :param median: of the rounds, in ns.
    :param added: what tracing added to the median, in ns.
    :param ratio: the median, divided by that without tracing.
    :param lost: events that boxtrace lost, in all rounds; a lost event costs less than one that is recorded.
    """

    tracer: str
    rounds: tuple[float, ...]
    median: float
    added: float
    ratio: float
    lost: int


def _one_round(tracer: Tracer, tools: Tools, calls: int, cpu: int) -> tuple[float, int]:
    """Return ns per call, and how many events were lost."""
    count = max(calls // tracer.scale, 20)
    with (
        tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as directory,
        Workload(tools.program, cpu=cpu, batches=_BATCHES, calls=count, prefix=tracer.prefix) as workload,
    ):
        with tracer.attach(workload.pid, Path(directory), tools) as result:
            workload.go()
            per_call = workload.wait().per_call
        return per_call, result.lost if isinstance(result, Recording) else 0


def measure(tools: Tools, *, rounds: int, calls: int, cpu: int) -> tuple[list[Cost], list[str]]:
    """Measure every tracer, in turn, as often as *rounds* tells.

    :param calls: in a batch of a fast tracer.
    :param cpu: where the calls are made; what records is on CPU 0.
    :returns: costs, and a sentence about each tracer that is not here.
    """
    present = [tracer for tracer in TRACERS if tracer.missing is None]
    absent = [f"{tracer.name}: {tracer.missing}" for tracer in TRACERS if tracer.missing is not None]
    took: defaultdict[str, list[float]] = defaultdict(list)
    lost: defaultdict[str, int] = defaultdict(int)
    for _ in range(rounds):
        for tracer in present:
            per_call, missing = _one_round(tracer, tools, calls, cpu)
            took[tracer.name].append(per_call)
            lost[tracer.name] += missing
    medians = {name: statistics.median(values) for name, values in took.items()}
    bare = medians[present[0].name]
    costs = [
        Cost(name, tuple(took[name]), median, median - bare, median / bare, lost[name])
        for name, median in medians.items()
    ]
    return costs, absent


def format_costs(costs: list[Cost]) -> str:
    """Return the table."""
    rows = [
        [
            cost.tracer,
            f"{cost.median:.0f}",
            f"{cost.added:+.0f}",
            f"{cost.ratio:.2f}",
            f"{min(cost.rounds):.0f}",
            f"{cost.lost}",
        ]
        for cost in costs
    ]
    return format_table(["", "ns/call", "added", "ratio", "best", "lost"], rows)
