"""Sockets for clients: at the host's own path, and inside the mount namespaces of running containers."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boxtrace.userspace.protocol import SOCKET_DIRECTORIES, SOCKET_NAME

__all__ = ["Listener", "listen_at", "listen_in_container"]

_BACKLOG: Final = 512
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Listener:
    """A listening socket, and where its file is.

    :ivar directory: descriptor of the directory that holds it.
    :ivar owner: user and group id of who owns that directory, on the host.
    """

    socket: socket.socket
    directory: int
    name: str
    owner: tuple[int, int]

    def close(self) -> None:
        """Stop listening, and remove the file."""
        self.socket.close()
        with suppress(OSError):
            _as_user(self.owner, lambda: os.unlink(self.name, dir_fd=self.directory))
        os.close(self.directory)


def listen_at(path: Path) -> Listener:
    """Listen at a path of this mount namespace; a socket that nobody listens at any more is replaced.

    :raises OSError: if that is not possible; EADDRINUSE when another host listens there.
    """
    return _listener(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path.name)


def listen_in_container(pid: int) -> Listener:
    """Listen at one of the clients' standard paths, as a process sees them: in its mount namespace.

    Nothing is mounted, and no symbolic link of the container is followed: it could lead to the host's files. The file
    belongs to the container's own root user, also where that is nobody outside of its user namespace.

    :raises OSError: if there is no directory that can be used.
    """
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    failure: OSError | None = None
    try:
        for place in SOCKET_DIRECTORIES:
            try:
                return _listener(os.open(place, _DIRECTORY, dir_fd=root), SOCKET_NAME)
            except OSError as error:
                failure = error
    finally:
        os.close(root)
    raise failure or FileNotFoundError(errno.ENOENT, "no directory for a socket")


def _listener(directory: int, name: str) -> Listener:
    try:
        status = os.fstat(directory)
        owner = (status.st_uid, status.st_gid)
        return Listener(_listen(directory, name, owner), directory, name, owner)
    except BaseException:
        os.close(directory)
        raise


def _listen(directory: int, name: str, owner: tuple[int, int]) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)

    def bind() -> None:
        os.fchdir(directory)
        if _is_abandoned(name):
            Path(name).unlink()
        os.umask(0)
        listening.bind(name)

    try:
        _as_user(owner, bind)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_abandoned(name: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(name).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.settimeout(1)
            probe.connect(name)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _as_user(owner: tuple[int, int], work: Callable[[], None]) -> None:
    """Do something in a child process, with its own working directory, umask and user.

    :raises OSError: what the work raised.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        number = 0
        try:
            if os.geteuid() == 0 and owner != (0, 0):
                os.setgroups([])
                os.setresgid(owner[1], owner[1], owner[1])
                os.setresuid(owner[0], owner[0], owner[0])
            work()
        except OSError as error:
            number = error.errno or errno.EIO
        except BaseException:
            number = errno.EIO
        os.write(write, number.to_bytes(4, sys.byteorder))
        os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        number = int.from_bytes(answer.read(4), sys.byteorder)
    os.waitpid(child, 0)
    if number:
        raise OSError(number, os.strerror(number))
