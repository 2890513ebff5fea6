"""Where a path of one mount namespace is found in another: by the file systems that are mounted in both.

What is mounted comes from lines of mountinfo (proc_pid_mountinfo(5)), read from ``/proc`` or kept in a trace.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boxtrace.units import NamespaceInum, Pid

__all__ = ["Mount", "MountTable", "host_viewer", "kernel_device", "parse_mount", "read_mounts", "translate"]

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount, as a mount namespace has it.

    :ivar device: the file system, by the kernel's number.
    :ivar root: which directory of the file system is mounted.
    :ivar point: where.
    """

    device: int
    root: str
    point: str


class MountTable:
    """The mounts of a namespace.

    :param mounts: in the order in which they were made: a later one hides what an earlier one has below its point.
    :param sure: those of them that are known to be there; others may be gone, and their device be another one's.
    """

    def __init__(self, mounts: Iterable[Mount], sure: Iterable[Mount] = ()) -> None:
        self._mounts = list(mounts)
        self._sure = list(sure)

    def place(self, path: str) -> tuple[int, str] | None:
        """Return the file system and the path within it that a path means; None when nothing is mounted there."""
        best: Mount | None = None
        for mount in self._mounts:
            if _below(path, mount.point) is not None and (best is None or len(mount.point) >= len(best.point)):
                best = mount
        rest = None if best is None else _below(path, best.point)
        return None if best is None or rest is None else (best.device, _join(best.root, rest))

    def find(self, device: int, inner: str) -> str | None:
        """Return a path that means this path of a file system; None when none does."""
        for mount in (*self._sure, *self._mounts):
            rest = _below(inner, mount.root) if mount.device == device else None
            if rest is not None:
                path = _join(mount.point, rest)
                if self.place(path) == (device, inner):
                    return path
        return None


def translate(path: str, inside: MountTable, outside: MountTable) -> str | None:
    """Return where *outside* has what *path* means *inside*; None when it cannot be seen from there."""
    place = inside.place(posixpath.normpath(path)) if path.startswith("/") else None
    return None if place is None else outside.find(*place)


def read_mounts(pid: int, proc: Path = Path("/proc")) -> MountTable | None:
    """Return what is mounted where a process is, below its root; None when it cannot be looked at."""
    try:
        text = (proc / str(pid) / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = map(parse_mount, text.splitlines())
    return MountTable(Mount(int(line["dev"]), str(line["root"]), str(line["mount_point"])) for line in lines)


def host_viewer(proc: Path = Path("/proc")) -> tuple[Pid, NamespaceInum]:
    """Return a process that sees what the host sees, with its mount namespace: the first one, or else ourselves."""
    for pid in (1, os.getpid()):
        with suppress(OSError):
            return Pid(pid), NamespaceInum((proc / str(pid) / "ns" / "mnt").stat().st_ino)
    return Pid(os.getpid()), NamespaceInum(0)


def parse_mount(line: str) -> dict[str, int | str]:
    """Return the fields of a line of mountinfo.

    :raises ValueError: if it is none.
    """
    words, _, rest = line.encode().decode("latin-1").partition(" - ")
    number, parent, device, root, point, options = words.split()[:6]
    filesystem, source, super_options = (*rest.split(" "), "")[:3]
    return {
        "mount_id": int(number),
        "parent_id": int(parent),
        "dev": kernel_device(device),
        "root": _plain(root),
        "mount_point": _plain(point),
        "options": options,
        "filesystem": filesystem,
        "source": _plain(source),
        "super_options": _plain(super_options),
    }


def kernel_device(number: str) -> int:
    """Return the kernel's number of a device that ``MAJOR:MINOR`` names."""
    major, _, minor = number.partition(":")
    return int(major) << 20 | int(minor)


def _plain(text: str) -> str:
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text).encode("latin-1", errors="replace")
    return raw.decode(errors="replace")


def _below(path: str, directory: str) -> str | None:
    """Return the rest of a path below a directory, empty for the directory itself; None when it is not below."""
    if directory == "/":
        return path[1:]
    if path == directory:
        return ""
    return path[len(directory) + 1 :] if path.startswith(directory + "/") else None


def _join(directory: str, rest: str) -> str:
    return posixpath.join(directory, rest) if rest else directory
