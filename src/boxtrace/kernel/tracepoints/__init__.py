"""Tracepoints: every one of the running kernel as an event, with LTTng's name and fields where LTTng has it."""

from boxtrace.kernel.tracepoints.catalogue import TracepointName, Tracepoints
from boxtrace.kernel.tracepoints.model import ANY_TRACEPOINT, ChosenTracepoint, Copy, Layout, Tracepoint

__all__ = ["ANY_TRACEPOINT", "ChosenTracepoint", "Copy", "Layout", "Tracepoint", "TracepointName", "Tracepoints"]
