"""containerd: from the bundles of its tasks on disk, and by its API (Kubernetes, ctr, nerdctl).

Where the API cannot be asked (no socket, no permission, h2 not installed) the bundles are enough to find what runs;
images, labels and what does not run are known by the API alone. A task's bundle is
``STATE/io.containerd.runtime.v2.task/NAMESPACE/ID`` and holds ``init.pid`` beside ``config.json`` (containerd's runtime
v2 shims). Names of Kubernetes come from what containerd's CRI plugin notes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from boxtrace.containers._containerd_api import DOCKERS, list_by_containerd
from boxtrace.containers.oci import bundle_notes, directories, mapping, read_number, read_plain
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, answer, ask_all, sockets
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import is_safe_id, shorten_id
from boxtrace.units import Pid

__all__ = ["SHIM", "Containerd", "describe_bundle"]

_TASKS = "io.containerd.runtime.v2.task"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a daemon keeps its state, and listens."""

    state: str
    socket: Path


_USUAL = (
    _Place("/run/containerd", Path("/run/containerd/containerd.sock")),
    _Place("/run/docker/containerd/daemon", Path("/run/docker/containerd/containerd.sock")),
    _Place("/run/k3s/containerd", Path("/run/k3s/containerd/containerd.sock")),
)
_STATES = (*(place.state for place in _USUAL), "/run/user/*/containerd")
_CONFIGURATION = "/etc/containerd/config.toml"
_CRI = "io.kubernetes.cri."
SHIM = "containerd-shim"  # the kernel keeps 15 characters: containerd-shim-runc-v2, -kata-v2, ...

# Label of Kubernetes' own runtimes: annotation of containerd's CRI plugin.
_LABELS = {
    "io.kubernetes.container.name": f"{_CRI}container-name",
    "io.kubernetes.pod.name": f"{_CRI}sandbox-name",
    "io.kubernetes.pod.namespace": f"{_CRI}sandbox-namespace",
    "io.kubernetes.pod.uid": f"{_CRI}sandbox-uid",
}


def describe_bundle(identifier: str, notes: Mapping[str, str], init: int | None) -> RuntimeContainer:
    """Describe a running task by its id, the annotations of its bundle and its first process."""
    labels = {label: notes[label] for label in _LABELS if label in notes}
    labels |= {label: notes[note] for label, note in _LABELS.items() if note in notes}
    name = labels.get("io.kubernetes.container.name") or notes.get("nerdctl/name")
    if name is None and "sandbox" in (notes.get(f"{_CRI}container-type"), notes.get("io.cri-containerd.kind")):
        name = f"{labels.get('io.kubernetes.pod.name', identifier[:12])}-sandbox"
    others = {key: value for key, value in notes.items() if not key.startswith(_CRI)}
    image = notes.get(f"{_CRI}image-name")
    return RuntimeContainer(identifier, name or shorten_id(identifier), "running", init, image, labels=others | labels)


class Containerd:
    """The containers of every containerd of this host.

    :param states: patterns of its state directories.
    """

    name = "containerd"

    def __init__(self, states: tuple[str, ...] = _STATES) -> None:
        self._states = states
        self._known = states

    def watched(self, processes: ProcessTable) -> tuple[tuple[str, str], ...]:
        """Return where tasks appear: patterns of directories, and the file of a task that is written last."""
        self._known = self._places(processes)
        return tuple((f"{state}/{_TASKS}/*", "init.pid") for state in self._known)

    def _places(self, processes: ProcessTable) -> tuple[str, ...]:
        """Return the usual state directories, those that running daemons are configured to use, and those of shims."""
        configured = (place.state for place in _configured(processes))
        return tuple(dict.fromkeys([*self._states, *configured, *_left(processes)]))

    @staticmethod
    def daemons(processes: ProcessTable) -> dict[str, str]:
        """Return the sockets of the daemons, as ``unix://PATH``, with the state directory of each."""
        states: dict[Path, str] = {}
        for place in (*_configured(processes), *_USUAL):
            states.setdefault(place.socket, place.state)
        return {f"unix://{socket}": states[socket] for socket in sockets(states)}

    @staticmethod
    def is_dockers(bundle: Path) -> bool:
        """Tell whether a bundle is of a container that Docker tells of."""
        return bundle.parent.name == DOCKERS

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        told, failure = ask_all(self.daemons(processes), partial(list_by_containerd, describe=describe_bundle))
        found = {(container.id, container.init_pid): container for container in told}
        self._known = self._places(processes)
        for container in self.kept(processes):
            found.setdefault((container.id, container.init_pid), container)
        if not found and failure is None:
            raise RuntimeAbsentError("containerd: no task runs")
        return answer(found.values(), failure)

    def kept(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return what the bundles tell, of the daemons that were there when it was asked last."""
        bundles = (task for state in self._known for task in directories(f"{state}/{_TASKS}/*/*"))
        return [task for bundle in bundles if (task := self.kept_in(bundle, processes)) is not None]

    def kept_in(self, directory: Path, processes: ProcessTable) -> RuntimeContainer | None:
        """Return what one bundle tells; None where its task does not run."""
        init = _init(directory, processes)
        if init is None or not is_safe_id(directory.name):
            return None
        return describe_bundle(directory.name, bundle_notes(directory), init)


def _configured(processes: ProcessTable) -> Iterator[_Place]:
    """Yield the places of the daemons that run, by their command lines and configurations."""
    for pid, pairs in processes.daemons("containerd"):
        options = dict(pairs)
        file = next((options[option] for option in ("--config", "-c") if option in options), _CONFIGURATION)
        try:
            configuration = _parsed(read_plain(processes.path(pid, file)) or b"")
        except (ValueError, RecursionError):
            configuration = {}
        state = options.get("--state", configuration.get("state"))
        told = mapping(configuration.get("grpc")).get("address")
        socket = next((options[option] for option in ("--address", "-a") if option in options), told)
        # A glob pattern is made of the directory.
        proper = isinstance(state, str) and state.startswith("/") and not set("*?[") & set(state)
        absolute = isinstance(socket, str) and socket.startswith("/")
        yield _Place(
            str(state) if proper else _USUAL[0].state,
            processes.seen(pid, str(socket) if absolute else str(_USUAL[0].socket)),
        )


def _left(processes: ProcessTable) -> Iterator[str]:
    """Yield the state directories of the shims that run: their daemon may be gone."""
    for task in processes.tasks.values():
        if task.name.startswith(SHIM):
            with suppress(OSError):
                seen = processes.path(task.pid, ".")
                bundle = seen.readlink()
                # Not where somebody else has another directory there: inside a container.
                if bundle.parent.parent.name == _TASKS and not set("*?[") & set(str(bundle)) and bundle.samefile(seen):
                    yield str(bundle.parents[2])


@lru_cache(maxsize=16)
def _parsed(content: bytes) -> Mapping[str, Any]:
    """Return the content of a TOML file; the same one is read at each look."""
    return tomllib.loads(content.decode())


def _init(bundle: Path, processes: ProcessTable) -> Pid | None:
    """Return the task's first process, if it is still that: a child of a shim."""
    number = read_number(bundle / "init.pid")
    task = None if number is None else processes.task(int(number))
    shim = None if task is None else processes.task(task.ppid)
    return None if task is None or shim is None or not shim.name.startswith(SHIM) else task.pid
