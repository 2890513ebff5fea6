"""What a container is: values only, without any access to the system.

A container is a set of processes with an identity: its cgroup, its namespaces and its time of birth. A number that the
kernel uses again (a pid, a namespace inode, a cgroup id) comes with another birth, and is another container.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from boxtrace.containers.text import shorten_id
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = [
    "BIRTH_RESOLUTION_NS",
    "CGROUP2",
    "Cgroup",
    "Container",
    "Identity",
    "Namespaces",
    "RUNNING_STATES",
    "UNKNOWN_RUNTIME",
]

BIRTH_RESOLUTION_NS = 10_000_000
"""How coarse a birth is that was read from procfs, which counts in clock ticks (USER_HZ, 100 a second)."""

CGROUP2 = "cgroup2"
"""Name of the version 2 hierarchy in :attr:`Cgroup.hierarchy`."""

UNKNOWN_RUNTIME = "unknown"
"""Runtime of a container that is known by its namespaces and cgroup alone."""

RUNNING_STATES = frozenset({"running", "paused"})
"""States in which a container has processes."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The eight namespaces of a task, as inode numbers; 0 where the kernel has none or the task has left it."""

    cgroup: NamespaceInum
    ipc: NamespaceInum
    mnt: NamespaceInum
    net: NamespaceInum
    pid: NamespaceInum
    time: NamespaceInum
    user: NamespaceInum
    uts: NamespaceInum

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the eight names, as in ``/proc/PID/ns``, in the order of the fields."""
        return tuple(cls.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Membership in one cgroup hierarchy.

    :ivar hierarchy: :data:`CGROUP2`, or a version 1 hierarchy as ``/proc/PID/cgroup`` names it
        (``memory``, ``cpu,cpuacct``, ``name=systemd``).
    :ivar path: path within the hierarchy, from its root as the reader's cgroup namespace shows it.
    :ivar id: inode number of the directory; None when the hierarchy is not mounted here or the directory is gone.
    """

    hierarchy: str
    path: str
    id: CgroupId | None = None

    def contains(self, other: Cgroup) -> bool:
        """Tell whether *other* is this cgroup or one below it."""
        if self.hierarchy != other.hierarchy:
            return False
        return self.path in ("/", other.path) or other.path.startswith(self.path + "/")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a container this one and no other, even where the kernel has used a number again."""

    cgroup: CgroupId | None
    namespaces: Namespaces
    birth: Nanoseconds


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as its runtime and the kernel tell of it.

    :ivar runtime: ``docker``, ..., or :data:`UNKNOWN_RUNTIME`.
    :ivar id: the runtime's full id.
    :ivar name: the runtime's name; never empty.
    :ivar image: name of the image, None where the runtime has no such thing.
    :ivar image_digest: ``sha256:...`` of the image where known.
    :ivar state: ``running``, ``paused``, ``created``, ``exited``, ...
    :ivar init_pid: first process, in the pid namespace of the proc mount that was read; None when it has none.
    :ivar namespaces: of the first process; None when it has none.
    :ivar pid_ns_ancestors: pid namespaces around that of the container, parent first, the host's last.
    :ivar birth: start of the first process, CLOCK_BOOTTIME in ns, as coarse as a clock tick (``/proc/PID/stat``).
    :ivar cgroups: of the first process, one per hierarchy.
    :ivar labels: the runtime's labels and annotations.
    :ivar exit_code: of the first process, when it is over and the runtime tells.
    :ivar ended: when it was over, by the runtime: CLOCK_REALTIME in ns, some time after the end of the first process.
    """

    runtime: str
    id: str
    name: str
    state: str
    image: str | None = None
    image_digest: str | None = None
    init_pid: Pid | None = None
    namespaces: Namespaces | None = None
    pid_ns_ancestors: tuple[NamespaceInum, ...] = ()
    birth: Nanoseconds | None = None
    cgroups: tuple[Cgroup, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    exit_code: int | None = None
    ended: Nanoseconds | None = None

    @property
    def short_id(self) -> str:
        """The id as runtimes print it: twelve characters of a hexadecimal one, anything else whole."""
        return shorten_id(self.id)

    @property
    def pid_ns(self) -> NamespaceInum | None:
        """The pid namespace of the container's processes; None without a process."""
        return None if self.namespaces is None else self.namespaces.pid

    @property
    def shares_host_pid_ns(self) -> bool:
        """Whether the container's processes live in the host's pid namespace (``--pid host``)."""
        return self.namespaces is not None and not self.pid_ns_ancestors

    @property
    def cgroup(self) -> Cgroup | None:
        """The cgroup that tells this container from others.

        That of version 2 when it is not the root, else of a named version 1 hierarchy, else any that is not the root.
        """
        placed = [cgroup for cgroup in self.cgroups if cgroup.path != "/"]
        for wanted in (lambda name: name == CGROUP2, lambda name: name.startswith("name="), lambda name: True):
            for cgroup in placed:
                if wanted(cgroup.hierarchy):
                    return cgroup
        return self.cgroups[0] if self.cgroups else None

    @property
    def identity(self) -> Identity | None:
        """What distinguishes the container from every other, before and after; None without a process."""
        if self.namespaces is None or self.birth is None:
            return None
        cgroup = self.cgroup
        return Identity(None if cgroup is None else cgroup.id, self.namespaces, self.birth)

    @property
    def life(self) -> Hashable:
        """What one life of a container is told by: not its runtime, which may use another, where the kernel tells."""
        return self.identity or (self.runtime, self.id)
