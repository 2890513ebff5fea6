"""Who a client is, by the kernel's word: the process behind a socket, its threads, and their contexts.

Everything is read through one descriptor of the process's directory in ``/proc``, which stays bound to that process.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boxtrace.containers.model import Namespaces
from boxtrace.units import NamespaceInum

__all__ = ["Peer", "Thread", "open_peer"]

_SO_PEERPIDFD: Final = 77
_UNMAPPED: Final = 65534
_LOOKUPS: Final = 256
"""Threads looked at to find one by its id in a nested pid namespace; the newest are looked at first."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as the host sees it, and as it sees itself: LTTng's contexts.

    :param name: the kernel's (comm), at most 15 bytes.
    :param tid: 0 when the thread could not be found any more.
    :param ids: real, effective and saved user id, then group id, in its own user namespace.
    """

    name: bytes
    pid: int
    tid: int
    ppid: int
    vpid: int
    vtid: int
    ids: tuple[int, int, int, int, int, int]
    namespaces: Namespaces


class Peer:
    """The process at the other end of a socket.

    :ivar pid: on the host.
    :ivar uid: user id on the host.
    :ivar gid: group id on the host.
    :ivar vpids: its process id at each pid namespace level, the host's first, its own last.
    :ivar cgroup: its cgroups, as ``/proc/PID/cgroup`` lists them.
    :ivar main: its main thread when it connected.
    :ivar pidfd: becomes readable when the process ends.
    """

    def __init__(self, pid: int, uid: int, pidfd: int) -> None:
        self.pid = pid
        self.uid = uid
        self.pidfd = pidfd
        self._directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self.ended():
                raise ProcessLookupError(pid)  # and the directory may be that of another process by now
            self.cgroup = self._read("cgroup")
            status = _parse_status(self._read("status"))
            self.gid = int(status["Gid"].split()[0])
            self.vpids = tuple(map(int, status["NStgid"].split()))
            self._tids: dict[int, int] = {self.vpids[-1]: pid}
            self.main = self._thread(pid, self.vpids[-1])
            self.clock_offset = self._clock_offset()
        except BaseException:
            os.close(self._directory)
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._directory)
        os.close(self.pidfd)

    def ended(self) -> bool:
        """Tell whether the process has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def thread(self, vtid: int) -> Thread | None:
        """Look up a thread by its id in the process's own pid namespace; None if it is gone (or never was)."""
        tid = self._tids.get(vtid)
        found = None if tid is None else self._try(tid, vtid)
        if found is None:
            tid = vtid if len(self.vpids) == 1 else self._find(vtid)
            found = None if tid is None else self._try(tid, vtid)
        if found is not None:
            self._tids[vtid] = found.tid
            if len(self._tids) > 4 * _LOOKUPS:
                self._tids.clear()
        return found

    def _try(self, tid: int, vtid: int) -> Thread | None:
        with suppress(OSError, KeyError, ValueError):
            return self._thread(tid, vtid)
        return None

    def _find(self, vtid: int) -> int | None:
        with suppress(OSError):
            tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
            try:
                with os.scandir(tasks) as entries:
                    numbers = sorted((int(entry.name) for entry in entries), reverse=True)
            finally:
                os.close(tasks)
            for tid in numbers[:_LOOKUPS]:
                with suppress(OSError, KeyError):
                    status = _parse_status(self._read(f"task/{tid}/status"))
                    if int(status["NSpid"].split()[-1]) == vtid:
                        return tid
        return None

    def _thread(self, tid: int, vtid: int) -> Thread:
        status = _parse_status(self._read(f"task/{tid}/status"))
        if int(status["NSpid"].split()[-1]) != vtid:
            raise ProcessLookupError(vtid)
        name = self._read(f"task/{tid}/comm").encode(errors="surrogateescape")[:-1][:15]
        users = _own_ids(status["Uid"], self._read("uid_map"))
        groups = _own_ids(status["Gid"], self._read("gid_map"))
        return Thread(
            name=name,
            pid=self.pid,
            tid=tid,
            ppid=int(status["PPid"]),
            vpid=self.vpids[-1],
            vtid=vtid,
            ids=(*users, *groups),
            namespaces=Namespaces(*(_inum(self._link(f"task/{tid}/ns/{kind}")) for kind in Namespaces.names())),
        )

    def _clock_offset(self) -> int:
        """Return what to add to the process's CLOCK_MONOTONIC to have ours (time_namespaces(7))."""
        theirs, pid = self._link("ns/time"), self.pid
        if not theirs or theirs == str(Path("/proc/self/ns/time").readlink()):
            return 0
        while pid and str(Path(f"/proc/{pid}/ns/time_for_children").readlink()) != theirs:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                pid = int(_parse_status(file.read())["PPid"])
        return 0 if not pid else _monotonic_offset("self") - _monotonic_offset(str(pid))

    def _link(self, name: str) -> str:
        try:
            return os.readlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return ""  # a namespace that this kernel does not have, or that an exiting task has left

    def _read(self, name: str) -> str:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()


def open_peer(connection: socket.socket) -> Peer:
    """Find out who is at the other end of a socket.

    :raises OSError: if that process has ended.
    """
    pid, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid <= 0:
        raise ProcessLookupError("the process is in no pid namespace that can be seen from here")
    try:
        (pidfd,) = struct.unpack("=i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))
    except OSError:
        pidfd = os.pidfd_open(pid)  # before Linux 6.5
    try:
        return Peer(pid, uid, pidfd)
    except (KeyError, ValueError) as error:
        os.close(pidfd)
        raise ProcessLookupError(pid) from error
    except BaseException:
        os.close(pidfd)
        raise


def _parse_status(text: str) -> Mapping[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _inum(link: str) -> NamespaceInum:
    return NamespaceInum(int(link[link.index("[") + 1 : -1]) if link else 0)


def _own_ids(ids: str, mapping: str) -> tuple[int, int, int]:
    """Translate the first three ids of a line of ``status``, ours, by a ``uid_map`` as we see it."""
    ranges = [tuple(map(int, line.split())) for line in mapping.splitlines()]

    def own(number: int) -> int:
        return next((first + number - ours for first, ours, size in ranges if 0 <= number - ours < size), _UNMAPPED)

    real, effective, saved = (own(int(word)) for word in ids.split()[:3])
    return real, effective, saved


def _monotonic_offset(pid: str) -> int:
    with open(f"/proc/{pid}/timens_offsets", encoding="ascii") as file:
        words = file.readline().split()
    return int(words[1]) * 1_000_000_000 + int(words[2])
