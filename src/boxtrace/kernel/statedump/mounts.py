"""What is mounted in mount namespaces (proc_pid_mountinfo(5)), recorded once while it stays as it is."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from boxtrace.containers.mounts import host_viewer, parse_mount
from boxtrace.kernel.emitter import Emitter
from boxtrace.units import NamespaceInum, Pid

__all__ = ["TellMounts"]


class TellMounts:
    """Records mounts.

    :param proc: the proc mount to read.
    """

    def __init__(self, emitter: Emitter, proc: Path = Path("/proc")) -> None:
        self._emitter = emitter
        self._proc = proc
        self._told: dict[NamespaceInum, frozenset[str]] = {}

    def tell(self, namespace: NamespaceInum, pids: Iterable[Pid]) -> None:
        """Record the mounts of a namespace that these processes were in; nothing if none is in it any more."""
        for pid in pids:
            if self._namespace(pid) == namespace and (lines := self._lines(pid)):
                self._record(namespace, lines)
                return

    def tell_host(self, told: Container[NamespaceInum]) -> None:
        """Record those of the host, by which paths are found there, if it is not among these namespaces."""
        viewer, host = host_viewer(self._proc)
        if host not in told:
            self.tell(host, [viewer])

    def arrive(self, init: Pid) -> bool:
        """Record the mounts of a container that is new, and what the host has beyond what was recorded of it.

        :returns: whether its first process lives.
        """
        own = self._namespace(init)
        if own is None:
            return False
        viewer, host = host_viewer(self._proc)
        lines = self._lines(init)
        # A number that another one had before comes with other mounts.
        if own == host or frozenset(lines) == self._told.get(own):
            return True
        self._record(own, lines)
        new = self._lines(viewer)
        told = self._told.get(host, frozenset())
        self._record(host, [line for line in new if line not in told])
        self._told[host] = frozenset(new)
        return True

    def _record(self, namespace: NamespaceInum, lines: Iterable[str]) -> None:
        lines = list(lines)
        for line in lines:
            self._emitter.emit("statedump_mount", mnt_ns=namespace, **parse_mount(line))
        self._told[namespace] = frozenset(lines)

    def _namespace(self, pid: Pid) -> NamespaceInum | None:
        try:
            return NamespaceInum((self._proc / str(pid) / "ns" / "mnt").stat().st_ino)
        except OSError:
            return None

    def _lines(self, pid: Pid) -> list[str]:
        try:
            return (self._proc / str(pid) / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
