"""Applications instrumented with LTTng-UST: recorded by LTTng's own daemon, into the same trace directory.

The daemon (``lttng-sessiond``) is asked through LTTng's command line tool; where none runs, one is started for as long
as the recording takes. Its clock is ours, the kernel's CLOCK_MONOTONIC, and its metadata tell the same boot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from boxtrace.errors import CapabilityError, UsageError

__all__ = ["LttngSession"]

_CONTEXTS = (
    *("vpid", "vtid", "procname"),
    *("cgroup_ns", "ipc_ns", "mnt_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns"),
)
_START_SECONDS: Final = 20
_END_SECONDS: Final = 20
LTTNG_DOMAIN = "lttng"
"""Directory of its part of the trace; LTTng puts ``ust/uid/...`` below."""


class LttngSession:
    """A recording session of LTTng's daemon, from here to :meth:`stop`.

    :param patterns: names of events, with LTTng's wildcard ``*``.
    :param trace: directory of the whole trace.
    :raises CapabilityError: if LTTng is not installed or its daemon does not start.
    :raises UsageError: if LTTng refuses the patterns.
    """

    def __init__(self, patterns: Iterable[str], trace: Path) -> None:
        self._name = f"boxtrace-{os.getpid()}"
        self._running = False
        if shutil.which("lttng") is None:
            raise CapabilityError("LTTng is not installed", hint="install lttng-tools, or leave out --lttng-ust")
        output = trace.absolute() / LTTNG_DOMAIN
        self._daemon = None if self._answers() else self._start_daemon()
        try:
            self._call("create", self._name, f"--output={output}")
            self._running = True
            self._call("enable-channel", "--userspace", f"--session={self._name}", "boxtrace")
            channel = ("--userspace", f"--session={self._name}", "--channel=boxtrace")
            self._call("enable-event", *channel, ",".join(patterns))
            self._call("add-context", *channel, *[f"--type={name}" for name in _CONTEXTS])
            self._call("start", self._name)
        except BaseException:
            self.stop()
            raise

    def _call(self, *arguments: str) -> None:
        done = subprocess.run(["lttng", "--no-sessiond", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise UsageError(f"lttng {arguments[0]}: {said[0] if said else f'status {done.returncode}'}")

    def _answers(self) -> bool:
        done = subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True, check=False)
        return done.returncode == 0

    def _start_daemon(self) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        try:
            # In a session of its own: Ctrl-C is for us, and the daemon still has to write what it has.
            daemon = subprocess.Popen(
                ["lttng-sessiond", "--no-kernel"], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
            )
        except OSError as error:
            raise CapabilityError(f"LTTng's daemon cannot be started: {error.strerror}") from error
        deadline = time.monotonic() + _START_SECONDS
        while daemon.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return daemon
            time.sleep(0.1)
        _end(daemon)
        raise CapabilityError("LTTng's daemon does not start", hint="lttng-sessiond --no-kernel tells why")

    def stop(self) -> None:
        """End it, with everything written; once is enough."""
        daemon, self._daemon = self._daemon, None
        try:
            if self._running:
                self._running = False
                self._call("destroy", self._name)
        finally:
            if daemon is not None:
                _end(daemon)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
