"""A recording as text: one live status line, and the summary at its end."""

from __future__ import annotations

import shlex
import shutil
import threading
from collections.abc import Iterator
from typing import TextIO

from boxtrace.session.options import ContainerCount, RuleCount, Status, Summary
from boxtrace.trace.summary import LeftOut

__all__ = ["StatusLine", "format_bytes", "format_summary", "left_out_texts"]

EVERYTHING_ELSE = "(everything else)"
"""Where events are counted that are in no container, or in none that a trace tells of."""

ANY_CONTAINER = "(of any container)"
"""What the kernel skips is counted for all containers together."""


def format_bytes(size: float) -> str:
    """Return a number of bytes with a unit: ``17 B``, ``1.2 MiB``."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


class StatusLine:
    """A line on a terminal that is written over and over. Text that is written by :meth:`say` stands above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Status | None = None
        self._shown = False
        self._lock = threading.Lock()

    def update(self, status: Status) -> None:
        """Show how the recording is."""
        last = self._last
        elapsed = status.seconds - last.seconds if last is not None else status.seconds
        rate = (status.events - (last.events if last is not None else 0)) / elapsed if elapsed > 0 else 0.0
        self._last = status
        parts = [
            f"recording {status.seconds:.0f} s",
            f"{status.events:,} events",
            f"{rate:,.0f}/s",
            format_bytes(status.size),
            f"{status.lost:,} lost",
        ]
        if status.watching:
            parts.append(f"{status.watching} watched")
        text = " · ".join(parts)
        self._write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], shown=True)

    def say(self, text: str) -> None:
        """Write a line of text in place of the status line, which comes again below it. From any thread."""
        self._write("\r\x1b[K" * self._shown + text + "\n", shown=False)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("\r\x1b[K", shown=False)

    def _write(self, text: str, *, shown: bool) -> None:
        with self._lock:
            self._shown = shown
            self._stream.write(text)
            self._stream.flush()


def _container_line(count: ContainerCount, width: int) -> str:
    name = EVERYTHING_ELSE if count.container is None else count.container.name
    lost = f", {count.discarded:,} lost" if count.discarded else ""
    return f"  {name:{width}}  {count.recorded:>12,} events{lost}"


def left_out_texts(count: RuleCount | LeftOut) -> Iterator[tuple[str, str]]:
    """Yield whose events are not in a trace, and which: ``web``, ``sched_*: 17 over the limit, 3 filtered``."""
    if isinstance(count, LeftOut):
        name = count.container
    else:
        name = "" if count.container is None else count.container.name
    reasons = {
        "lost": count.discarded,
        "over the limit": count.limited,
        "not in the sample": count.sampled,
        "filtered": count.filtered,
    }
    rule = count.rule or "other events"
    if told := ", ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number):
        yield name or EVERYTHING_ELSE, f"{rule}: {told}"
    if count.skipped:
        yield ANY_CONTAINER, f"{rule}: at most {count.skipped:,} lost amid the recording of another"


def format_summary(summary: Summary) -> str:
    """Return what a finished recording was, and how to look at it."""
    lines = [
        f"{summary.events:,} events in {summary.seconds:.1f} s ({format_bytes(summary.size)}), {summary.reason}",
    ]
    names = [20, *(len(count.container.name) for count in summary.containers if count.container is not None)]
    if len(summary.containers) > 1:
        lines += [_container_line(count, max(names)) for count in summary.containers]
    if any(count.rule for count in summary.left_out):
        names += [len(count.container.name) for count in summary.left_out if count.container is not None]
        lines.append("left out, by container and event rule:")
        texts = (text for count in summary.left_out for text in left_out_texts(count))
        lines += [f"  {name:{max(names)}}  {text}" for name, text in texts]
    if summary.discarded:
        lines.append(
            f"LOST: {summary.discarded:,} events, the buffers were full: a larger --subbuf-size or --num-subbuf, fewer "
            "events (-e) or contexts (--context) help"
        )
    else:
        lines.append("no event was lost to full buffers")
    if summary.taken_out and summary.flight_recorder:
        lines.append(
            f"{summary.taken_out:,} events of containers that turned out not to be wanted are in no snapshot "
            "(those that were taken out of one are counted above)"
        )
    elif summary.taken_out:
        lines.append(f"{summary.taken_out:,} events of containers that turned out not to be wanted were taken out")
    if summary.user_events or summary.user_lost:
        lost = f", LOST: {summary.user_lost:,} more, their buffers were full" if summary.user_lost else ""
        lines.append(f"{summary.user_events:,} events of applications{lost}")
    if summary.told or summary.told_lost:
        lost = f", LOST: {summary.told_lost:,} more, which could not be written" if summary.told_lost else ""
        lines.append(f"{summary.told:,} events about containers{lost}")
    if summary.user_refused:
        lines.append(f"{summary.user_refused:,} times an application was disconnected for what it did")
    if summary.missed:
        skipped = ", ".join(f"{name} {count:,}" for name, count in sorted(summary.missed.items()))
        lines.append(
            f"LOST: at most {sum(summary.missed.values()):,} events that came amid the recording of one of their kind, "
            f"in all containers together: {skipped}"
        )
    traces = summary.snapshots if summary.flight_recorder else (summary.path,)
    if not traces:
        lines.append("no snapshot was asked for, so nothing was written (SIGUSR1, or boxtrace snapshot)")
    for trace in traces:
        lines += [f"trace: {trace}", f"view:  boxtrace view {shlex.quote(str(trace))}"]
    return "\n".join(lines) + "\n"
