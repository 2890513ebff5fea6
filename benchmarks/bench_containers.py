"""Short containers of crun while boxtrace records: how long a start takes, and how many have their names."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.crun import CrunBundles
from benchmarks.report import format_table, spread
from benchmarks.tracers import empty_programs, recording
from benchmarks.workload import build_tools
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers

__all__ = ["ShortContainers", "format_containers", "measure_containers"]

_BLOCK = 25
_EMPTY = "nothing, but empty BPF programs at system calls"
_KINDS: dict[str, Sequence[str] | None] = {
    "nothing": None,
    _EMPTY: None,
    "births alone": ("-e", "cgroup_rename"),
    "these containers, all events": ("--container", "traced-*"),
    "whole host, all events": (),
}
"""What is recorded: options of ``boxtrace record``. Nothing, too: how much two blocks differ that are the same."""


@dataclass(slots=True)
class ShortContainers:
    """What came of a number of containers, run in blocks: each one between two that were not recorded.

    :ivar ran: how many were run.
    :ivar named: of these, how many have their name, an end and the right exit status in the trace.
    :ivar took_ms: from start to end of a container, the median of each block.
    :ivar more_ms: what that is more than that of the two blocks beside it.
    :ivar more_cpu_ms: the same of the CPU time of a container with what its runtime does; other work on the machine
        disturbs it less.
    :ivar own_cpu_ms: CPU time of boxtrace for each container.
    """

    ran: int = 0
    named: int = 0
    took_ms: list[float] = field(default_factory=list)
    more_ms: list[float] = field(default_factory=list)
    more_cpu_ms: list[float] = field(default_factory=list)
    own_cpu_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Block:
    """Time and CPU time of a container, in ms."""

    time: float
    cpu: float


def measure_containers(count: int) -> dict[str, ShortContainers]:
    """Run *count* containers with each kind of recording, and as many and some more without.

    :returns: what came of each kind of recording, and of none.
    """
    results = {kind: ShortContainers() for kind in _KINDS}
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as text:
        bundles, tools = CrunBundles(Path(text) / "bundles"), build_tools(Path(text))
        _run(bundles, _names("warm"))
        alone = _run(bundles, _names("alone"))
        for number, (kind, options) in enumerate(_turns(count // _BLOCK)):
            result, trace, codes = results[kind], Path(text) / f"trace-{number}", _names(f"traced-{number}")
            if options is None:
                with empty_programs(tools) if kind == _EMPTY else nullcontext():
                    block = _run(bundles, codes)
            else:
                with recording(trace, *options, cpu=None) as recorder:
                    before = recorder.cpu_ms()
                    block = _run(bundles, codes)
                    result.own_cpu_ms.append((recorder.cpu_ms() - before) / _BLOCK)
                result.named += _count_named(trace, codes)
            last, alone = alone, _run(bundles, _names(f"alone-{number}"))
            result.ran += _BLOCK
            result.took_ms.append(block.time)
            result.more_ms.append(block.time - (last.time + alone.time) / 2)
            result.more_cpu_ms.append(block.cpu - (last.cpu + alone.cpu) / 2)
    return results


def _turns(rounds: int) -> Iterator[tuple[str, Sequence[str] | None]]:
    """Yield the kinds in turn, backwards in each other round: what drifts is the same for all."""
    for number in range(rounds):
        yield from list(_KINDS.items())[:: -1 if number % 2 else 1]


def _names(prefix: str) -> dict[str, int]:
    return {f"{prefix}-{number}": number for number in range(_BLOCK)}


def _run(bundles: CrunBundles, codes: dict[str, int]) -> _Block:
    bundles.prepare(codes)
    before = _children_cpu_seconds()
    ended = bundles.measure(codes)
    worked = _children_cpu_seconds() - before
    if {name: each.code for name, each in ended.items()} != codes:
        raise RuntimeError("containers failed")
    return _Block(median(each.took for each in ended.values()), worked / len(codes) * 1000)


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _count_named(trace: Path, codes: dict[str, int]) -> int:
    rows = {row.container.name: row for row in TraceContainers(open_trace(trace)).rows()}
    return sum(
        name in rows and rows[name].end is not None and rows[name].container.exit_code == code
        for name, code in codes.items()
    )


def format_containers(results: dict[str, ShortContainers]) -> str:
    """Return a table."""
    rows = [
        [
            kind,
            spread(result.took_ms, 2),
            spread(result.more_ms, 2),
            spread(result.more_cpu_ms, 2),
            spread(result.own_cpu_ms, 2),
            f"{result.named} of {result.ran}" if result.own_cpu_ms else "",
        ]
        for kind, result in results.items()
    ]
    head = ["recorded", "ms from start to end", "more than beside it", "more CPU", "boxtrace's CPU", "named"]
    return format_table(head, rows)
