"""The kernel's own tracer as an oracle: an instance of its own, and what its text says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FtraceEvent", "ftrace", "parse_ftrace"]

_TRACEFS = Path("/sys/kernel/tracing")
_LINE = re.compile(r"\s*.+-(\d+)\s+\[(\d+)\]\s+(\S+)\s+[\d.]+: (\w+): (.*)")


@dataclass(frozen=True, slots=True)
class FtraceEvent:
    """One line of the text.

    :param flags: as Documentation/trace/ftrace.rst explains them: interrupts, need-resched, kind of interrupt, depth.
    :param text: the fields, as the kernel prints them.
    """

    tid: int
    cpu: int
    flags: str
    name: str
    text: str


@contextmanager
def ftrace(*events: str, pid: int | None = None) -> Iterator[Path]:
    """Trace events (``GROUP:NAME``), of one thread if it is given; yields the file of the text."""
    instance = _TRACEFS / "instances" / f"boxtrace-test-{os.getpid()}"
    instance.mkdir()
    try:
        if pid is not None:
            (instance / "set_event_pid").write_text(str(pid))
        for event in events:
            (instance / "events" / event.replace(":", "/") / "enable").write_text("1")
        yield instance / "trace"
    finally:
        (instance / "events/enable").write_text("0")
        instance.rmdir()


def parse_ftrace(text: str) -> list[FtraceEvent]:
    """Return the events of a text, in its order."""
    assert "LOST" not in text
    found = map(_LINE.match, text.splitlines())
    return [FtraceEvent(int(line[1]), int(line[2]), line[3], line[4], line[5]) for line in found if line is not None]
