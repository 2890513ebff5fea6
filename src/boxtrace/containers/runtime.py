"""What a container runtime is asked, and what it answers: the one interface that each runtime's module implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from boxtrace.containers.table import ProcessTable, Task
from boxtrace.errors import BoxtraceError
from boxtrace.units import Nanoseconds, Pid

__all__ = ["Beside", "Runtime", "RuntimeAbsentError", "RuntimeContainer", "RuntimeFailedError"]


class RuntimeAbsentError(BoxtraceError, LookupError):
    """The runtime is not installed or not running here: nothing is wrong."""


class RuntimeFailedError(BoxtraceError, OSError):
    """The runtime is here but does not answer: no permission, too slow, or an answer that makes no sense."""


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
        :raises RuntimeFailedError: it does not answer as it should.
        """
