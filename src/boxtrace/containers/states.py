"""Runtimes that keep a directory for each container: its name tells of a container however short its life was.

The kernel queues what happens in the directories (inotify), so that nothing has to be fast.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath

from boxtrace.containers._inotify import DirectoryWatch, Entry
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.lowlevel import Crun, Runc
from boxtrace.containers.oci import directories
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import clean, is_safe_id, shorten_id
from boxtrace.units import Nanoseconds

__all__ = ["StateDirectories"]

_BUSY = frozenset({Path("/tmp")})
"""Where too much happens to be watched for a runtime's directory to appear."""


class StateDirectories:
    """The directories that these runtimes keep. What is there already is not told of.

    :param tell: takes creations and removals.
    :param told: tells by the directory of a container whether somebody else tells of it.
    :raises OSError: the kernel gives no more watches (``/proc/sys/fs/inotify``).
    """

    def __init__(
        self,
        runtimes: Sequence[Containerd | Runc | Crun],
        processes: ProcessTable,
        tell: Callable[[ContainerEvent], None] = lambda _: None,
        told: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        self.tell = tell
        self.told = told
        self._watch = DirectoryWatch()
        self._runtimes = runtimes
        self._patterns: dict[str, tuple[str, str]] = {}
        self._files: set[str] = set()
        self._roots: dict[Path, str] = {}
        self._expected: defaultdict[str, set[str]] = defaultdict(set)
        """What is waited for in a directory above those of the runtimes: patterns of names."""
        self._present: set[Path] = set()
        self._ask(processes)
        self._refresh(quiet=True)

    def wait(self, seconds: float) -> None:
        """Wait for something to happen, for so long at most."""
        self._watch.poll(seconds)

    def follow(self, seconds: float) -> dict[Path, str]:
        """Wait for something to happen, for so long at most; return the containers that have new states to be read.

        :returns: the directory of each, with the name of its runtime.
        """
        written = [found for entry in self._watch.wait(seconds) if (found := self._take(entry)) is not None]
        if self._watch.missed:
            self._watch.missed = False
            self._refresh()
            written = list(self._present)
        return {path: self._roots[path.parent] for path in written}

    @property
    def refused(self) -> int:
        """How often the kernel refused to watch one more directory (``user.max_inotify_watches``, ``fs.inotify``)."""
        return self._watch.refused

    def refresh(self, processes: ProcessTable) -> None:
        """Look for directories of runtimes that were not there before."""
        self._ask(processes)
        self._refresh()

    def _ask(self, processes: ProcessTable) -> None:
        """Ask the runtimes for their directories, which daemons that have started since may choose."""
        for runtime in self._runtimes:
            for pattern, file in runtime.watched(processes):
                self._patterns[pattern] = runtime.name, file
                self._files.add(file)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    def _refresh(self, *, quiet: bool = False) -> None:
        found = lru_cache(maxsize=None)(lambda pattern: tuple(directories(pattern)))
        watched = set(self._watch.directories)
        for pattern, (runtime, _) in self._patterns.items():
            path = PurePosixPath(pattern)
            for below, above in zip((path, *path.parents), path.parents, strict=False):
                for directory in found(str(above)) if above.name else ():
                    if directory not in _BUSY:
                        self._expected[os.path.realpath(directory)].add(below.name)
                        self._watch_once(directory, watched)
            for root in found(pattern):
                self._watch_once(root, watched)
                self._roots[root] = runtime
                self._scan(root, quiet)

    def _watch_once(self, directory: Path, watched: set[Path]) -> None:
        if directory not in watched:
            watched.add(directory)
            self._watch.add(directory)

    def _scan(self, root: Path, quiet: bool) -> None:
        try:
            found = {Path(entry) for entry in os.scandir(root) if entry.is_dir()}
        except OSError:
            found = set()
        for path in {known for known in self._present if known.parent == root} - found:
            self._vanished(path)
        for path in found - self._present:
            self._appeared(path, quiet=quiet)

    def _take(self, entry: Entry) -> Path | None:
        """Note what happened; return the directory of a container whose state was written."""
        directory = entry.directory
        if directory in self._roots:
            path = directory / entry.name
            if entry.is_directory and entry.gone:
                self._vanished(path)
            elif entry.is_directory and path not in self._present:
                self._appeared(path)
                return path if path in self._present and self._has_state(path) else None
        elif directory in self._present:
            return directory if entry.name in self._files else None
        elif entry.is_directory and not entry.gone and self._is_expected(entry):
            self._refresh()
        return None

    def _is_expected(self, entry: Entry) -> bool:
        """Tell whether a new directory may be a runtime's, or above one: most are not, and a refresh takes long."""
        return any(fnmatchcase(entry.name, each) for each in self._expected[os.path.realpath(entry.directory)])

    def _has_state(self, path: Path) -> bool:
        return any(os.access(f"{path}/{name}", os.F_OK) for name in self._files)

    def _appeared(self, path: Path, *, quiet: bool = False) -> None:
        if not is_safe_id(path.name):
            return
        self._present.add(path)
        self._watch.add(path, files=True)
        if not quiet:
            self._event("create", path)

    def _vanished(self, path: Path) -> None:
        if path in self._present:
            self._present.discard(path)
            self._event("remove", path)

    def _event(self, kind: str, path: Path) -> None:
        if self.told(path):
            return
        identifier = path.name
        self.tell(
            ContainerEvent(
                kind=kind,
                runtime=self._roots[path.parent],
                id=identifier,
                name=clean(shorten_id(identifier)),
                time=Nanoseconds(time.time_ns()),
            )
        )
