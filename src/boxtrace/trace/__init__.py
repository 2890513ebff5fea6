"""Open traces, ours or any tracer's: events in time order, tables, what was lost."""

from __future__ import annotations

from boxtrace.trace.event import Event
from boxtrace.trace.stream import Loss, Stream
from boxtrace.trace.trace import Trace, open_trace

__all__ = ["Event", "Loss", "Stream", "Trace", "open_trace"]
