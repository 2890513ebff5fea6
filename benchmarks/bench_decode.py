"""How fast traces are read, beside babeltrace2: into columns, as text, one event after the other in Python.

Each way is a process of its own on one CPU, and its CPU time is counted: of the whole process, from its start to its
end, metadata and all; and, for boxtrace, of the reading alone, when the process does it for a second time and has
compiled what it has to.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import format_table

__all__ = ["DecodeCost", "format_decode", "measure_decode"]

_CPU = 1
_AGAIN = """
import sys, time
import boxtrace
from boxtrace.view.fast_text import text_pieces
trace = boxtrace.open(sys.argv[1])
nowhere = open("/dev/null", "wb", buffering=0)
def read():
    {read}
def write():
    return sum(nowhere.write(piece) for piece in text_pieces(trace))
counted = read()
if sys.argv[2] == "again":
    begin = time.process_time()
    {again}()
    print(counted, time.process_time() - begin)
"""
_TEXT = "boxtrace: text"
_READS = {
    "boxtrace: all columns": "return sum(len(t) for part in trace.batches(trace.event_names()) for t in part.values())",
    "boxtrace: two columns": "return sum(len(t) for part in trace.batches(trace.event_names(), "
    "columns=['timestamp', 'procname']) for t in part.values())",
    _TEXT: "return sum(piece.count(b'\\n') for piece in text_pieces(trace))",
    "boxtrace: iteration, names": "return sum(1 for event in trace.events() if event.name)",
    "boxtrace: iteration, name, time and a field": "return sum(1 for event in trace.events() "
    "if event.name and event.timestamp and event['procname'])",
}
_BT2 = """
import bt2, sys
event = bt2._EventMessageConst
print(sum(1 for m in bt2.TraceCollectionMessageIterator(sys.argv[1]) if type(m) is event and m.event.name{use}))
"""
_BT2_USE = " and m.default_clock_snapshot.ns_from_origin and m.event['procname']"


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """A way of reading: medians of millions of events per second of CPU time."""

    trace: str
    way: str
    whole_process: float
    reading: float | None
    """Without start and compilation; None where that is not told apart."""


def _others(trace: Path) -> dict[str, list[str]]:
    ways = {}
    if shutil.which("babeltrace2"):
        ways["babeltrace2: dummy sink"] = ["babeltrace2", str(trace), "--component", "sink.utils.dummy"]
        ways["babeltrace2: text"] = ["babeltrace2", str(trace)]
    system = shutil.which("python3", path="/usr/bin")
    if system and subprocess.run([system, "-c", "import bt2"], capture_output=True, check=False).returncode == 0:
        ways["bt2: iteration, names"] = [system, "-c", _BT2.format(use=""), str(trace)]
        ways["bt2: iteration, name, time and a field"] = [system, "-c", _BT2.format(use=_BT2_USE), str(trace)]
    return ways


def _run(command: list[str]) -> tuple[float, str]:
    """Run on one CPU, and return the seconds of CPU time and what was printed, if it is little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        stdout=subprocess.DEVNULL if command[0] == "babeltrace2" else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {_CPU}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout or ""


def measure_decode(name: str, trace: Path, rounds: int) -> list[DecodeCost]:
    """Read a trace in every way, all ways in turn in each round."""
    whole: dict[str, list[float]] = {}
    reading: dict[str, list[float]] = {}
    events = 0
    for _ in range(rounds):
        for way, read in _READS.items():
            # Lines are counted once; what is measured goes where babeltrace2's goes.
            program = _AGAIN.format(read=read, again="write" if way == _TEXT else "read")
            command = [sys.executable, "-c", program, str(trace)]
            whole.setdefault(way, []).append(_run([*command, "once"])[0])
            counted, seconds = _run([*command, "again"])[1].split()
            reading.setdefault(way, []).append(float(seconds))
            assert events in (0, int(counted)), "the ways do not read the same"
            events = int(counted)
        for way, command in _others(trace).items():
            whole.setdefault(way, []).append(_run(command)[0])

    def rate(seconds: list[float]) -> float:
        return events / statistics.median(seconds) / 1e6

    label = f"{name}, {events / 1e6:.1f} M events"
    return [
        DecodeCost(label, way, rate(times), rate(reading[way]) if way in reading else None)
        for way, times in whole.items()
    ]


def format_decode(costs: Sequence[DecodeCost]) -> str:
    """Return the costs as tables, one for each trace."""
    tables = []
    for trace in dict.fromkeys(cost.trace for cost in costs):
        rows = [
            [cost.way, f"{cost.whole_process:.2f}", "" if cost.reading is None else f"{cost.reading:.2f}"]
            for cost in costs
            if cost.trace == trace
        ]
        header = ["M events/s of CPU time", "whole process", "reading"]
        tables.append(f"{trace}\n\n{format_table(header, rows)}")
    return "\n\n".join(tables)
