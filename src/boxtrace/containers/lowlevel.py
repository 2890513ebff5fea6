"""Plain runc and crun, from the state that they keep on disk for each container.

runc: ``ROOT/ID/state.json``; crun: ``ROOT/ID/status``. Both hold pid and start time of the first process, so that a
state left behind is not taken for a process that has the pid now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boxtrace.containers.oci import bundle_notes, directories, mapping, read_json
from boxtrace.containers.proc import TICK_NS
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import clean, is_safe_id

__all__ = ["Crun", "Runc"]

_State = tuple[object, object, str | None]
"""Pid, start in clock ticks, bundle."""


class Runc:
    """The containers of runc, those that a manager started with it included where the manager itself is not asked.

    :param roots: patterns of its state directories.
    """

    name = "runc"
    _FILE = "state.json"

    def __init__(self, roots: tuple[str, ...] = ("/run/runc", "/run/user/*/runc", "/tmp/runc")) -> None:
        self._roots = roots

    def watched(self, processes: ProcessTable) -> tuple[tuple[str, str], ...]:
        """Return where containers appear: patterns of directories, and the file of a container that tells of it."""
        return tuple((root, self._FILE) for root in self._roots)

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        return self.kept(processes)

    def kept(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return what its files tell: all that there is."""
        return _read_all(self.name, self._roots, self._FILE, _runc_state, processes)

    def kept_in(self, directory: Path, processes: ProcessTable) -> RuntimeContainer | None:
        """Return what is kept of one container."""
        return _read(directory / self._FILE, _runc_state, processes)


class Crun:
    """The containers of crun, as :class:`Runc`."""

    name = "crun"
    _FILE = "status"

    def __init__(self, roots: tuple[str, ...] = ("/run/crun", "/run/user/*/crun")) -> None:
        self._roots = roots

    def watched(self, processes: ProcessTable) -> tuple[tuple[str, str], ...]:
        """Return where containers appear: patterns of directories, and the file of a container that tells of it."""
        return tuple((root, self._FILE) for root in self._roots)

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        return self.kept(processes)

    def kept(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return what its files tell: all that there is."""
        return _read_all(self.name, self._roots, self._FILE, _crun_state, processes)

    def kept_in(self, directory: Path, processes: ProcessTable) -> RuntimeContainer | None:
        """Return what is kept of one container."""
        return _read(directory / self._FILE, _crun_state, processes)


def _runc_state(state: Mapping[str, Any]) -> _State:
    labels = mapping(state.get("config")).get("labels")
    told = [text for text in labels if isinstance(text, str)] if isinstance(labels, list) else []
    bundle = next((text.removeprefix("bundle=") for text in told if text.startswith("bundle=/")), None)
    return state.get("init_process_pid"), state.get("init_process_start"), bundle


def _crun_state(state: Mapping[str, Any]) -> _State:
    bundle = state.get("bundle")
    return state.get("pid"), state.get("process-start-time"), bundle if isinstance(bundle, str) else None


def _read_all(
    runtime: str, roots: tuple[str, ...], file: str, parse: Callable[[Mapping[str, Any]], _State], table: ProcessTable
) -> list[RuntimeContainer]:
    states = [path for root in roots for path in directories(f"{root}/*/{file}")]
    if not states:
        raise RuntimeAbsentError(f"{runtime}: no container runs")
    return [container for path in states if (container := _read(path, parse, table)) is not None]


def _read(path: Path, parse: Callable[[Mapping[str, Any]], _State], table: ProcessTable) -> RuntimeContainer | None:
    identifier = path.parent.name
    if not is_safe_id(identifier):
        return None
    pid, start, bundle = parse(mapping(read_json(path)))
    task = table.task(pid) if isinstance(pid, int) else None
    alive = task is not None and (not isinstance(start, int) or task.start == start * TICK_NS)
    notes = bundle_notes(Path(bundle)) if bundle is not None else {}
    init = task.pid if alive and task is not None else None
    return RuntimeContainer(identifier, clean(identifier), "running" if alive else "stopped", init, labels=notes)
