"""Tracepoints: every one of the running kernel as an event, with LTTng's name and fields where LTTng has it."""

from boxtrace.kernel.tracepoints.catalogue import TracepointName, Tracepoints
from boxtrace.kernel.tracepoints.model import ChosenTracepoint, Copy, Layout, Tracepoint

__all__ = ["ChosenTracepoint", "Copy", "Layout", "Tracepoint", "TracepointName", "Tracepoints"]
