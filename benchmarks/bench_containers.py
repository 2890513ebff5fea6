"""Short containers of crun while boxtrace records: how long a start takes, and how many have their names."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.crun import CrunBundles
from benchmarks.report import format_table
from benchmarks.tracers import recording
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers

__all__ = ["ShortContainers", "format_containers", "measure_containers"]

_BLOCK = 50
_KINDS = {
    "births alone": ("-e", "cgroup_rename"),
    "these containers, all events": ("--container", "traced-*"),
    "whole host, all events": (),
}
"""What is recorded: options of ``boxtrace record``."""


@dataclass(slots=True)
class ShortContainers:
    """What came of a number of containers, run in blocks: a recorded one between two that were not.

    :ivar recorded: how many were run while boxtrace recorded.
    :ivar named: of these, how many have their name, an end and the right exit status in the trace.
    :ivar recorded_ms: from start to end of a container, the mean of each block.
    :ivar more_ms: what that is more than the mean of the two blocks beside it.
    :ivar more_cpu_ms: the same of the CPU time of a container with what its runtime does; other work on the machine
        disturbs it less.
    :ivar own_cpu_ms: CPU time of boxtrace for each container.
    """

    recorded: int = 0
    named: int = 0
    recorded_ms: list[float] = field(default_factory=list)
    more_ms: list[float] = field(default_factory=list)
    more_cpu_ms: list[float] = field(default_factory=list)
    own_cpu_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Block:
    """Time and CPU time of a container, in ms."""

    time: float
    cpu: float


def measure_containers(count: int) -> tuple[list[float], dict[str, ShortContainers]]:
    """Run *count* containers with each kind of recording, and as many and some more without.

    :returns: from start to end of a container without a recording, in ms, the mean of each block, in the order of
        time; and what came of each kind of recording.
    """
    results = {kind: ShortContainers() for kind in _KINDS}
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as text:
        bundles = CrunBundles(Path(text) / "bundles")
        _run(bundles, _names("warm"))
        alone = [_run(bundles, _names("alone"))]
        for number, (kind, options) in enumerate(_turns(count // _BLOCK)):
            result, trace, codes = results[kind], Path(text) / f"trace-{number}", _names(f"traced-{number}")
            with recording(trace, *options, cpu=None) as recorder:
                before = _cpu_ms(recorder.process.pid)
                block = _run(bundles, codes)
                result.own_cpu_ms.append((_cpu_ms(recorder.process.pid) - before) / _BLOCK)
            alone.append(_run(bundles, _names(f"alone-{number}")))
            result.recorded += _BLOCK
            result.named += _count_named(trace, codes)
            result.recorded_ms.append(block.time)
            result.more_ms.append(block.time - (alone[-1].time + alone[-2].time) / 2)
            result.more_cpu_ms.append(block.cpu - (alone[-1].cpu + alone[-2].cpu) / 2)
    return [block.time for block in alone], results


def _turns(rounds: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the kinds in turn, backwards in each other round: what drifts is the same for all."""
    for number in range(rounds):
        yield from list(_KINDS.items())[:: -1 if number % 2 else 1]


def _names(prefix: str) -> dict[str, int]:
    return {f"{prefix}-{number}": number for number in range(_BLOCK)}


def _run(bundles: CrunBundles, codes: dict[str, int]) -> _Block:
    bundles.prepare(codes)
    started, before = time.perf_counter(), _children_cpu_seconds()
    ended = bundles.run(codes, at_once=1)
    took, worked = time.perf_counter() - started, _children_cpu_seconds() - before
    if ended != codes:
        raise RuntimeError(f"containers failed: {sorted(set(codes.items()) - set(ended.items()))[:3]}")
    return _Block(took / len(codes) * 1000, worked / len(codes) * 1000)


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_ms(pid: int) -> float:
    """CPU time of a process's threads, as the scheduler counts it."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e6


def _count_named(trace: Path, codes: dict[str, int]) -> int:
    rows = {row.container.name: row for row in TraceContainers(open_trace(trace)).rows()}
    return sum(
        name in rows and rows[name].end is not None and rows[name].container.exit_code == code
        for name, code in codes.items()
    )


def format_containers(alone: Sequence[float], results: dict[str, ShortContainers]) -> str:
    """Return a table."""
    apart = [abs(later - earlier) for earlier, later in pairwise(alone)]
    rows: list[Sequence[str]] = [
        ["not recorded", _spread(alone), f"+-{median(apart):.2f} (to {max(apart):.2f})", "", "", ""]
    ]
    rows += [
        [
            kind,
            _spread(result.recorded_ms),
            _spread(result.more_ms),
            _spread(result.more_cpu_ms),
            _spread(result.own_cpu_ms),
            f"{result.named} of {result.recorded}",
        ]
        for kind, result in results.items()
    ]
    head = ["recorded", "ms from start to end", "more than beside it", "more CPU", "boxtrace's CPU", "named"]
    return format_table(head, rows)


def _spread(values: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
