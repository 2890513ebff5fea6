"""An initial file system for a virtual machine, made of files of this machine."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Initramfs"]

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_ALIGNMENT = 4


class Initramfs:
    """Collects files, and writes them as a cpio archive ("newc", as Documentation/driver-api/early-userspace tells)."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes | Path]] = {}

    def add_bytes(self, target: str, content: bytes, *, executable: bool = False) -> None:
        """Add a file with this content."""
        self._put(target, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def add_link(self, target: str, destination: str) -> None:
        """Add a symbolic link."""
        self._put(target, stat.S_IFLNK | 0o777, destination.encode())

    def add_directory(self, target: str) -> None:
        """Add an empty directory."""
        self._put(target, stat.S_IFDIR | 0o755, b"")

    def add_file(self, source: Path, target: str | None = None) -> None:
        """Add a file of this machine, following links, under the same name or another."""
        mode = stat.S_IMODE(source.stat().st_mode) | stat.S_IFREG
        self._put(target or str(source), mode, source.resolve())

    def add_tree(self, source: Path, target: str | None = None, *, skip: Iterable[str] = ()) -> None:
        """Add a directory with all in it, but for files and directories of the names *skip*."""
        skipped = frozenset(skip)
        for directory, names, files in os.walk(source):
            names[:] = [name for name in names if name not in skipped]
            below = Path(target or source) / Path(directory).relative_to(source)
            self.add_directory(str(below))
            for name in files:
                path = Path(directory) / name
                if name not in skipped and path.is_file():
                    self.add_file(path, str(below / name))

    def add_program(self, program: Path, target: str | None = None) -> None:
        """Add an executable, or a shared object, with the shared libraries that it loads."""
        self.add_file(program, target)
        self.add_libraries(program)

    def add_libraries(self, binary: Path) -> None:
        """Add the shared libraries that a binary loads, where the loader looks for them."""
        listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
        for library in _LIBRARY.findall(listed.stdout):
            if library not in self._entries:
                self.add_file(Path(library), library)

    def _put(self, target: str, mode: int, content: bytes | Path) -> None:
        parent = str(Path(target).parent)
        if parent not in ("/", "."):
            name = parent.lstrip("/")
            if f"/{name}" not in self._entries:
                self._put(f"/{name}", stat.S_IFDIR | 0o755, b"")
        self._entries["/" + target.lstrip("/")] = (mode, content)

    def write(self, path: Path) -> None:
        """Write the archive, uncompressed."""
        with path.open("wb") as archive:
            for inode, (name, (mode, content)) in enumerate(sorted(self._entries.items()), start=1):
                data = content.read_bytes() if isinstance(content, Path) else content
                archive.write(_record(inode, name.lstrip("/"), mode, data))
            archive.write(_record(0, "TRAILER!!!", 0, b""))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def _record(inode: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return _padded(header + encoded) + _padded(data)
