"""A trace's summary as text, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from boxtrace.trace.summary import TraceSummary
from boxtrace.view.recording import format_bytes, left_out_texts

__all__ = ["info_json", "info_lines"]

_SHOWN = ("hostname", "domain", "kernel_release", "tracer_name", "procname", "vpid", "trace_creation_datetime")


def info_lines(summary: TraceSummary, *, utc: bool = False) -> Iterator[str]:
    """Yield the lines of the text form, without newlines."""
    for path, environment in summary.environments:
        yield f"trace      {path}"
        version = [
            environment[key] for key in ("tracer_major", "tracer_minor", "tracer_patchlevel") if key in environment
        ]
        for key in _SHOWN:
            if key in environment:
                suffix = f" {'.'.join(map(str, version))}" if key == "tracer_name" and version else ""
                yield f"  {key}: {environment[key]}{suffix}"
    begin, end = summary.begin, summary.end
    if begin is not None and end is not None:
        yield f"time       {_moment(begin, utc)} to {_moment(end, utc)} ({(end - begin) / 1e9:.6f} s)"
    total = sum(count for _, count in summary.events)
    yield f"events     {total:,} of {len(summary.events):,} types"
    yield f"lost       {summary.discarded:,} events, {sum(stream.lost_packets for stream in summary.streams):,} packets"
    size = sum(stream.size for stream in summary.streams)
    packets = sum(stream.packets for stream in summary.streams)
    yield f"streams    {len(summary.streams)}, {packets:,} packets, {format_bytes(size)}"
    for stream in summary.streams:
        lost = "" if not stream.discarded else f", {stream.discarded:,} events lost"
        yield f"  {stream.path}: {stream.packets:,} packets, {format_bytes(stream.size)}{lost}"
    if summary.left_out:
        yield "left out   by container and event rule:"
    for left in summary.left_out:
        yield from (f"  {name}  {text}" for name, text in left_out_texts(left))
    for failure in summary.failures:
        yield f"damaged    {failure}"
    width = len(f"{max((count for _, count in summary.events), default=0):,}")
    for name, count in summary.events:
        yield f"{count:>{width},} {name}"


def info_json(summary: TraceSummary) -> dict[str, Any]:
    """Return the summary as a JSON object; times in ns, sizes in bytes."""
    return {
        "path": str(summary.path),
        "traces": [{"path": str(path), "environment": dict(env)} for path, env in summary.environments],
        "begin": summary.begin,
        "end": summary.end,
        "events": dict(summary.events),
        "streams": [
            {
                "path": str(stream.path),
                "packets": stream.packets,
                "size": stream.size,
                "content": stream.content,
                "begin": stream.begin,
                "end": stream.end,
                "discarded_events": stream.discarded,
                "discarded_packets": stream.lost_packets,
            }
            for stream in summary.streams
        ],
        "losses": [
            {
                "stream": str(loss.stream.path),
                "kind": loss.kind,
                "count": loss.count,
                "begin": loss.begin,
                "end": loss.end,
            }
            for loss in summary.losses
        ],
        "left_out": [asdict(count) for count in summary.left_out],
        "failures": [str(failure) for failure in summary.failures],
    }


def _moment(time: int, utc: bool) -> str:
    second, rest = divmod(time, 1_000_000_000)
    moment = datetime.fromtimestamp(second, UTC)
    return f"{(moment if utc else moment.astimezone()).strftime('%Y-%m-%d %H:%M:%S')}.{rest:09}"
