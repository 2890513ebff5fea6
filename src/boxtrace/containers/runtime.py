"""What a container runtime is asked, and what it answers: the one interface that each runtime's module implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISSOCK
from typing import Protocol

from boxtrace.containers.table import ProcessTable, Task
from boxtrace.errors import BoxtraceError
from boxtrace.units import Nanoseconds, Pid

__all__ = [
    "Beside",
    "Runtime",
    "RuntimeAbsentError",
    "RuntimeContainer",
    "RuntimeFailedError",
    "answer",
    "ask_all",
    "sockets",
]


class RuntimeAbsentError(BoxtraceError, LookupError):
    """The runtime is not installed or not running here: nothing is wrong."""


class RuntimeFailedError(BoxtraceError, OSError):
    """The runtime is here but does not answer: no permission, too slow, or an answer that makes no sense.

    :ivar told: what is known of its containers all the same, by others of its daemons or without them.
    """

    told: tuple[RuntimeContainer, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeContainer:
    """A container as its runtime describes it: fields as in ``Container``, texts made printable."""

    id: str
    name: str
    state: str
    init_pid: int | None = None
    image: str | None = None
    image_digest: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    exit_code: int | None = None
    ended: Nanoseconds | None = None


class Beside(Protocol):
    """A runtime that keeps a process beside each container."""

    @property
    def name(self) -> str:
        """As of :class:`Runtime`."""

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether a process looks like one that it keeps beside a container."""

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that has just been born, if it is this runtime's.

        :param monitor: one of the processes from which the first process descends, which it may keep.
        :param init: its first process, which may not have executed anything yet.
        """


class Runtime(Protocol):
    """A container runtime of this host."""

    @property
    def name(self) -> str:
        """The word for it in tables and in ``RUNTIME:NAME``."""

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return the containers that the runtime knows, those without a process included.

        Never waits for more than a few seconds.

        :param processes: those of the host, for runtimes that are found by them.
        :raises RuntimeAbsentError: there is no such runtime here.
        :raises RuntimeFailedError: it does not answer as it should; ``told`` has what is known all the same.
        """


def sockets(places: Iterable[Path]) -> list[Path]:
    """Return those of *places* that are sockets, each socket once, by the first path that leads to it."""
    found: dict[tuple[int, int], Path] = {}
    for place in places:
        try:
            status = place.stat()
        except OSError:
            continue
        if S_ISSOCK(status.st_mode):
            found.setdefault((status.st_dev, status.st_ino), place)
    return list(found.values())


def ask_all(
    addresses: Iterable[str], ask: Callable[[str], list[RuntimeContainer]]
) -> tuple[list[RuntimeContainer], RuntimeFailedError | None]:
    """Ask every daemon of a runtime.

    :returns: what those tell that answer, and the error of the last one that does not.
    """
    found: list[RuntimeContainer] = []
    failure: RuntimeFailedError | None = None
    for address in addresses:
        try:
            found += ask(address)
        except RuntimeAbsentError:
            continue
        except RuntimeFailedError as error:
            failure = error
    return found, failure


def answer(found: Iterable[RuntimeContainer], failure: RuntimeFailedError | None) -> list[RuntimeContainer]:
    """Return what was found, or raise what failed, with what was found."""
    told = list(found)
    if failure is None:
        return told
    failure.told = tuple(told)
    raise failure
