"""Which program each process runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from boxtrace.kernel.statedump.devices import Values
from boxtrace.units import Pid

__all__ = ["program_paths"]

_DELETED = " (deleted)"


def program_paths(pids: Iterable[Pid], proc: Path = Path("/proc")) -> Iterator[Values]:
    """Yield the path of each process's program in its own mount namespace; kernel threads have none.

    The kernel writes a path of another mount namespace from the root of that one (``/proc/PID/exe``, proc_pid_exe(5)).
    """
    for pid in pids:
        try:
            path = str((proc / str(pid) / "exe").readlink())
        except OSError:
            continue
        yield {"pid": pid, "filename": path.removesuffix(_DELETED)}
