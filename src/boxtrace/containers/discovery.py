"""Which containers this host has now: what the runtimes tell, joined with what the kernel tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boxtrace.containers.cgroups import Hierarchies
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.crio import Crio
from boxtrace.containers.docker import Docker
from boxtrace.containers.inside import Inside
from boxtrace.containers.join import join
from boxtrace.containers.lowlevel import Crun, Runc
from boxtrace.containers.lxc import Lxc
from boxtrace.containers.match import match
from boxtrace.containers.model import UNKNOWN_RUNTIME, Container
from boxtrace.containers.nspawn import Nspawn
from boxtrace.containers.podman import Podman
from boxtrace.containers.proc import Snapshot
from boxtrace.containers.runtime import Runtime, RuntimeAbsentError, RuntimeContainer, RuntimeFailedError
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.unknown import find_unknown
from boxtrace.errors import ContainerNotFoundError, SelectionError
from boxtrace.units import Pid

__all__ = ["RUNTIMES", "Survey", "choose", "discover", "find", "rank", "survey"]

RUNTIMES: tuple[Runtime, ...] = (
    Docker(),
    Inside(Docker.name),
    Podman(),
    Crio(),
    Containerd(),
    Inside(Containerd.name),
    Lxc(),
    Nspawn(),
    Runc(),
    Crun(),
)
"""Every runtime that is asked. What an earlier one knows is not taken from a later one, which it may use."""
_RANKS = [runtime.name for runtime in RUNTIMES]


def rank(runtime: str) -> int:
    """Return the place of a runtime among :data:`RUNTIMES`; behind all for a name that none of them has."""
    return _RANKS.index(runtime) if runtime in _RANKS else len(_RANKS)


@dataclass(frozen=True, slots=True)
class Survey:
    """The containers of this host, and who could not be asked.

    :ivar containers: by runtime and name; those that are not running only where they were asked for.
    :ivar snapshot: the processes among which they were found.
    :ivar absent: runtimes that are not here.
    :ivar failed: runtimes that are here, but do not answer: their containers are missing, or listed as unknown ones.
    """

    containers: tuple[Container, ...]
    snapshot: Snapshot
    absent: tuple[RuntimeAbsentError, ...]
    failed: tuple[RuntimeFailedError, ...]


def survey(*, stopped: bool = False, runtimes: Sequence[Runtime] | None = None, proc: Path | None = None) -> Survey:
    """Ask every runtime, look at every process, and join the answers.

    :param stopped: also return containers without a process (created, exited).
    :param runtimes: whom to ask; :data:`RUNTIMES` by default.
    :param proc: the proc mount to read, ``/proc`` by default.
    """
    proc = proc or Path("/proc")
    absent: list[RuntimeAbsentError] = []
    failed: list[RuntimeFailedError] = []
    described: list[tuple[str, RuntimeContainer]] = []
    processes = ProcessTable(proc)
    known: set[str | int] = set()
    for runtime in RUNTIMES if runtimes is None else runtimes:
        try:
            told: Sequence[RuntimeContainer] = runtime.containers(processes)
        except RuntimeAbsentError as error:
            absent.append(error)
            continue
        except RuntimeFailedError as error:
            failed.append(error)
            told = error.told
        for container in told:
            numbers = {container.id, container.init_pid or container.id}
            if not numbers & known:
                known |= numbers
                described.append((runtime.name, container))
    # After the runtimes, so that a container which they told of is among the processes unless it ended since.
    snapshot = Snapshot(proc)
    hierarchies = Hierarchies(proc)
    containers = [_join(name, container, snapshot, hierarchies) for name, container in described]
    containers += [
        _join(UNKNOWN_RUNTIME, container, snapshot, hierarchies) for container in find_unknown(snapshot, containers)
    ]
    chosen = [container for container in containers if stopped or container.init_pid is not None]
    chosen.sort(key=lambda item: (item.runtime == UNKNOWN_RUNTIME, item.runtime, item.name, item.id))
    return Survey(tuple(chosen), snapshot, tuple(absent), tuple(failed))


def _join(runtime: str, told: RuntimeContainer, snapshot: Snapshot, hierarchies: Hierarchies) -> Container:
    process = snapshot.processes.get(Pid(told.init_pid)) if told.init_pid is not None else None
    ancestors = () if process is None else snapshot.pid_ns_ancestors(process)
    return join(runtime, told, process, ancestors, hierarchies)


def discover() -> list[Container]:
    """Return the running containers of this host, of all runtimes and of none, by runtime and name."""
    return list(survey().containers)


def find(word: str) -> Container:
    """Return the running container that *word* means, see :func:`choose`."""
    return choose(word, survey(stopped=True))


def choose(word: str, found: Survey) -> Container:
    """Return the running container of a survey that *word* means (see :func:`~boxtrace.containers.match.match`).

    :param found: a survey with the stopped containers, so that the error can tell of those.
    :raises ContainerNotFoundError: there is none; when a runtime failed to answer, the hint says so.
    :raises SelectionError: several are meant, or the one that is meant is not running.
    """
    try:
        container = match(word, found.containers)
    except ContainerNotFoundError as error:
        if found.failed:
            error.hint = "; ".join(str(failure) for failure in found.failed)
        raise
    if container.init_pid is None:
        raise SelectionError(
            f"container {container.name!r} is not running (it is {container.state})",
            hint="start it, or record the whole host and choose it when reading",
        )
    return container
