"""How far a command has come, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxtrace.trace import Event, Trace
    from boxtrace.units import Nanoseconds

__all__ = ["duration", "nobody_looks", "progress_bar", "telling_progress"]


def nobody_looks(done: float) -> None:
    """Take what has been done where no bar is shown."""


@contextmanager
def progress_bar(doing: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error if that is a terminal, and take it away at the end.

    What is given is to be told how much has been done since it was told before.
    """
    if not sys.stderr.isatty() or total <= 0:
        yield nobody_looks
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.advance(task, done)


def duration(trace: Trace, begin: Nanoseconds | None, end: Nanoseconds | None) -> int:
    """Return how long the part of a trace is that is read, in ns."""
    first, last = trace.begin or 0, trace.end or 0
    return (last if end is None else min(end, last)) - (first if begin is None else max(begin, first))


def telling_progress(
    trace: Trace, events: Iterator[Event], begin: Nanoseconds | None, progress: Callable[[float], None]
) -> Iterator[Event]:
    """Return events of a trace; as each is taken it is told how much time of the trace, in ns, has passed by."""
    return events if progress is nobody_looks else _tell(trace, events, begin, progress)


def _tell(
    trace: Trace, events: Iterator[Event], begin: Nanoseconds | None, progress: Callable[[float], None]
) -> Iterator[Event]:
    time = begin or trace.begin or 0
    for event in events:
        if event.timestamp is not None:
            progress(event.timestamp - time)
            time = event.timestamp
        yield event
