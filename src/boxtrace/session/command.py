"""The command of ``boxtrace record -- COMMAND``: a process that waits until it is recorded, then becomes it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress

from boxtrace.errors import UsageError
from boxtrace.units import Pid

__all__ = ["Command"]


class Command:
    """A child process, stopped before its execve. It dies with this process if it is never started."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Fork the child.

        :raises UsageError: if there is no such program.
        """
        program = shutil.which(arguments[0])
        if program is None:
            raise UsageError(f"there is no program {arguments[0]!r} to run")
        gate, self._gate = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become(program, arguments, gate, self._gate)
        os.close(gate)
        self.pid = Pid(pid)
        self.pidfd = os.pidfd_open(pid)
        self._status: int | None = None

    def start(self) -> None:
        """Let the child go on to its execve, unless a signal has ended it already."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"!")
        os.close(self._gate)
        self._gate = -1

    def finished(self) -> bool:
        """Whether the command has ended; its children may live on."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def terminate(self) -> None:
        """Ask the command to end, if it has not."""
        if self._status is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    @property
    def exit_status(self) -> int | None:
        """Exit status as a shell gives it (128 + signal when killed); None while it runs."""
        if self._status is None:
            return None
        return self._status if self._status >= 0 else 128 - self._status

    def close(self) -> None:
        """Let go of the child: one that was never started ends, one that runs goes on."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
            os.waitpid(self.pid, 0)
        os.close(self.pidfd)


def _become(program: str, arguments: Sequence[str], gate: int, other_end: int) -> None:
    """In the child: wait for the gate, then execve. Never returns."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.close(other_end)
        if os.read(gate, 1):
            os.execv(program, list(arguments))
    except OSError as error:
        os.write(2, f"boxtrace: cannot run {program}: {error.strerror}\n".encode())
    finally:
        os._exit(127)
