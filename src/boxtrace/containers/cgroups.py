"""Cgroup hierarchies of the host: version 1, version 2, or both, wherever they are mounted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from boxtrace._native import read_inodes
from boxtrace.containers.model import CGROUP2, Cgroup
from boxtrace.units import CgroupId

__all__ = ["CgroupMount", "Hierarchies", "hierarchy_numbers", "parse_cgroups", "parse_mounts", "runtime_hierarchy"]

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """One mounted hierarchy: where, from which of its directories on, and which controllers (empty for version 2)."""

    directory: Path
    root: str
    controllers: frozenset[str]


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """Find the cgroup mounts in the text of ``/proc/PID/mountinfo`` (proc(5))."""
    found: list[CgroupMount] = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset() if kind[0] == "cgroup2" else frozenset(kind[2].split(","))
        found.append(CgroupMount(Path(_unescape(fields[4])), _unescape(fields[3]), controllers))
    return found


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def parse_cgroups(text: str) -> list[Cgroup]:
    """Parse ``/proc/PID/cgroup``: one :class:`Cgroup` per hierarchy, ids not looked up.

    The kernel appends ``(deleted)`` to the path of a removed cgroup; the mark is taken off.
    """
    found = []
    for line in text.splitlines():
        number, first, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if not (first and second and number.isdigit()):
            continue
        found.append(Cgroup(controllers or CGROUP2, path.removesuffix(" (deleted)")))
    return found


def hierarchy_numbers(proc: Path = Path("/proc")) -> dict[str, int]:
    """Return the kernel's number of each hierarchy by the name that :attr:`Cgroup.hierarchy` has; 0 is version 2."""
    numbers = {}
    for line in (proc / "self/cgroup").read_text(errors="replace").splitlines():
        number, _, rest = line.partition(":")
        numbers[rest.partition(":")[0] or CGROUP2] = int(number)
    return numbers


def runtime_hierarchy(proc: Path = Path("/proc")) -> str:
    """Return a hierarchy in which runtimes make a cgroup for each container.

    They use those of version 1 where there are any (opencontainers/cgroups, ``IsCgroup2UnifiedMode``).
    """
    mounts = Hierarchies(proc)
    names = sorted(hierarchy_numbers(proc), key=lambda name: ("memory" not in name.split(","), name))
    for name in names:
        if name != CGROUP2 and "=" not in name and mounts.directory(Cgroup(name, "/")) is not None:
            return name
    return CGROUP2


class Hierarchies:
    """The hierarchies mounted for this process, to turn a cgroup's path into its id.

    :param proc: the proc mount to read.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._by_name: dict[str, list[CgroupMount]] = {}

    @cached_property
    def _mounts(self) -> list[CgroupMount]:
        try:
            return parse_mounts((self._proc / "self/mountinfo").read_text(errors="replace"))
        except OSError:
            return []

    def _mounted(self, hierarchy: str) -> list[CgroupMount]:
        found = self._by_name.get(hierarchy)
        if found is None:
            wanted = frozenset() if hierarchy == CGROUP2 else frozenset(hierarchy.split(","))
            found = [item for item in self._mounts if (item.controllers >= wanted if wanted else not item.controllers)]
            self._by_name[hierarchy] = found
        return found

    def directory(self, cgroup: Cgroup) -> Path | None:
        """Return where the cgroup's directory is mounted here, None where its hierarchy or that part of it is not."""
        path = self._path(cgroup)
        return None if path is None else Path(path)

    def _path(self, cgroup: Cgroup) -> str | None:
        if cgroup.path.startswith("/.."):
            return None
        for mount in self._mounted(cgroup.hierarchy):
            if mount.root == "/":
                return f"{mount.directory}{cgroup.path}"
            if mount.root == cgroup.path or cgroup.path.startswith(mount.root + "/"):
                return f"{mount.directory}/{cgroup.path[len(mount.root) :].lstrip('/')}"
        return None

    def with_id(self, cgroup: Cgroup) -> Cgroup:
        """Return a cgroup with its id, see :meth:`with_ids`."""
        return self.with_ids((cgroup,))[0]

    def with_ids(self, cgroups: Sequence[Cgroup]) -> tuple[Cgroup, ...]:
        """Return cgroups with the inode number of the directory of each, which is the kernel's id of the cgroup."""
        paths = [self._path(cgroup) for cgroup in cgroups]
        numbers = read_inodes([path or "" for path in paths])
        return tuple(
            Cgroup(cgroup.hierarchy, cgroup.path, CgroupId(number)) if number else cgroup
            for cgroup, number in zip(cgroups, numbers, strict=True)
        )
