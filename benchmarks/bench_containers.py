"""Short containers of crun while the whole host is recorded: how long a start takes, and how many have their names."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.crun import CrunBundles
from benchmarks.report import format_table
from benchmarks.tracers import recording
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers

__all__ = ["ShortContainers", "format_containers", "measure_containers"]

_BLOCK = 50


@dataclass(frozen=True, slots=True)
class ShortContainers:
    """What came of a number of containers, run in blocks that were recorded and blocks that were not, in turn.

    :param recorded: how many were run while boxtrace recorded.
    :param named: of these, how many have their name, a beginning, an end and the right exit status in the trace.
    :param alone_ms: from start to end of a container, the mean of each block that was not recorded.
    :param recorded_ms: the same of those that were, in the order in which they were run.
    :param alone_cpu_ms: CPU time of a container with what its runtime does; other work on the machine disturbs it less.
    :param recorded_cpu_ms: the same of those that were recorded.
    """

    recorded: int
    named: int
    alone_ms: tuple[float, ...]
    recorded_ms: tuple[float, ...]
    alone_cpu_ms: tuple[float, ...]
    recorded_cpu_ms: tuple[float, ...]


def measure_containers(count: int, *options: str) -> ShortContainers:
    """Run *count* containers while recording with these options, and as many without."""
    alone: list[tuple[float, float]] = []
    traced: list[tuple[float, float]] = []
    named = 0
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as text:
        bundles = CrunBundles(Path(text) / "bundles")
        for block in range(count // _BLOCK):
            trace, codes = Path(text) / f"trace-{block}", _names(f"traced-{block}")
            for recorded in (False, True) if block % 2 else (True, False):  # what drifts is the same for both
                if not recorded:
                    alone.append(_run(bundles, _names(f"alone-{block}")))
                    continue
                with recording(trace, *options):
                    traced.append(_run(bundles, codes))
            named += _count_named(trace, codes)
    times = [tuple(block[kind] for block in blocks) for kind in (0, 1) for blocks in (alone, traced)]
    return ShortContainers(len(traced) * _BLOCK, named, *times)


def _names(prefix: str) -> dict[str, int]:
    return {f"{prefix}-{number}": number for number in range(_BLOCK)}


def _run(bundles: CrunBundles, codes: dict[str, int]) -> tuple[float, float]:
    """Return the time and the CPU time of a container, in ms."""
    bundles.prepare(codes)
    started, before = time.perf_counter(), _cpu_seconds()
    ended = bundles.run(codes, at_once=1)
    took, worked = time.perf_counter() - started, _cpu_seconds() - before
    if ended != codes:
        raise RuntimeError(f"containers failed: {sorted(set(codes.items()) - set(ended.items()))[:3]}")
    return took / len(codes) * 1000, worked / len(codes) * 1000


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _count_named(trace: Path, codes: dict[str, int]) -> int:
    rows = {row.container.name: row for row in TraceContainers(open_trace(trace)).rows()}
    return sum(
        name in rows and rows[name].begin is not None and rows[name].container.exit_code == code
        for name, code in codes.items()
    )


def format_containers(result: ShortContainers) -> str:
    """Return a table."""
    worked = [there - without for without, there in zip(result.alone_cpu_ms, result.recorded_cpu_ms, strict=True)]
    more = [there - without for without, there in zip(result.alone_ms, result.recorded_ms, strict=True)]
    rows: Sequence[Sequence[str]] = [
        ["ms from start to end, alone", _spread(result.alone_ms)],
        ["ms from start to end, recorded", _spread(result.recorded_ms)],
        ["difference of neighbouring blocks, ms", _spread(more)],
        ["ms of CPU, alone", _spread(result.alone_cpu_ms)],
        ["ms of CPU, recorded", _spread(result.recorded_cpu_ms)],
        ["difference of neighbouring blocks, ms of CPU", _spread(worked)],
        ["recorded", f"{result.recorded}"],
        ["named", f"{result.named}"],
    ]
    return format_table(["short containers", ""], rows)


def _spread(values: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
