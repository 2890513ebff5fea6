"""Container-aware tracer for Linux: record what the kernel does for a container, and read CTF traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxtrace.version import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from boxtrace.trace import Trace

__all__ = ["__version__", "open"]

__version__ = VERSION


def open(path: str | Path) -> Trace:
    """Open every trace in a directory tree, to be read as one; see :func:`boxtrace.trace.open_trace`."""
    # Imported when it is needed: the command line, which imports this package, must start quickly.
    from boxtrace.trace import open_trace

    return open_trace(path)
