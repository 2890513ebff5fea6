"""What comes into directories and goes, by inotify(7); Python has no binding of its own."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DirectoryWatch", "Entry"]

_CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE, _ONLYDIR = 0x8, 0x80, 0x100, 0x200, 0x1000000
_ENTRIES = _CREATE | _MOVED_TO | _DELETE | _ONLYDIR
_FILES = _CLOSE_WRITE | _MOVED_TO | _ONLYDIR
_OVERFLOW, _IGNORED, _ISDIR = 0x4000, 0x8000, 0x40000000
_HEADER = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened to an entry of a directory: it appeared (a file: it was written), or it is gone.

    :ivar is_directory: what it is, or was.
    """

    directory: Path
    name: str
    gone: bool
    is_directory: bool


class DirectoryWatch:
    """Tells of files and directories that appear in directories and vanish from them.

    :ivar missed: whether the kernel had more to tell than it keeps.
    :ivar refused: how many directories are not watched because the kernel gives no more watches.

    :raises OSError: the kernel gives no more of these (``/proc/sys/fs/inotify``).
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._waiting = select.poll()  # select(2) knows no descriptor above 1023; a recording may have thousands
        self._waiting.register(self._fd, select.POLLIN)
        self._paths: dict[int, Path] = {}
        self.missed = False
        self.refused = 0

    @property
    def directories(self) -> frozenset[Path]:
        """What is watched."""
        return frozenset(self._paths.values())

    def add(self, directory: Path, *, files: bool = False) -> None:
        """Watch one more directory; one that cannot be watched (gone, not ours) is left out.

        :param files: only for files that have been written; else for what appears in it, and what vanishes.
        """
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _FILES if files else _ENTRIES)
        if number >= 0:
            self._paths[number] = directory
        elif ctypes.get_errno() == errno.ENOSPC:
            self.refused += 1

    def poll(self, seconds: float) -> bool:
        """Return whether something has happened, or does in so many seconds."""
        return bool(self._waiting.poll(seconds * 1000))

    def wait(self, seconds: float) -> list[Entry]:
        """Return what happened; an empty list when nothing did for so long."""
        if seconds and not self.poll(seconds):
            return []
        try:
            return list(self._parse(os.read(self._fd, 1 << 16)))
        except BlockingIOError:
            return []

    def _parse(self, data: bytes) -> Iterator[Entry]:
        at = 0
        while at < len(data):
            number, mask, _, length = _HEADER.unpack_from(data, at)
            name = data[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            at += _HEADER.size + length
            if number in self._paths and name:
                yield Entry(self._paths[number], os.fsdecode(name), bool(mask & _DELETE), bool(mask & _ISDIR))
            elif mask & _IGNORED:  # the directory is gone
                self._paths.pop(number, None)
            elif mask & _OVERFLOW:
                self.missed = True

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
