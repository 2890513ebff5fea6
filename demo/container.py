#!/usr/bin/env python3
"""Start a small container without any container runtime: ``container.py [--no-user] NAME -- COMMAND [ARGUMENT...]``.

All eight namespaces are new, the root file system holds nothing but a static busybox, and where cgroup version 2 may
be written, the container has a cgroup called NAME. The command is pid 1 inside. It needs busybox-static, util-linux,
and root (or a kernel that lets anybody create user namespaces; then there is no cgroup). It ends with its command.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

__all__ = ["DemoContainer", "remove_cgroup"]

# Runs as pid 1 inside the new namespaces, in the host's file system, and becomes the command in the container's own.
_SETUP = """
set -e
root=$1; name=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
for device in null zero urandom; do mount --bind /dev/$device "$root/dev/$device"; done
mount -t proc proc "$root/proc"
hostname "$name"
cd "$root"
pivot_root . old
busybox=/bin/busybox
$busybox umount -l /old
cd /
export PATH=/bin HOME=/ HOSTNAME="$name"
echo >&3
read go <&3
exec 3>&-
exec "$@"
"""


class DemoContainer:
    """A container made of namespaces, a cgroup and busybox; use it as a context manager.

    :param name: its host name, and the name of its cgroup.
    :param command: what runs as its pid 1; programs are those of busybox, and those in *programs*.
    :param user: whether it has a user namespace of its own.
    :param programs: static programs of the host to have in its ``/bin``, too.
    :param stdout: where its output goes, as for :class:`subprocess.Popen`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        user: bool = True,
        programs: Sequence[Path] = (),
        stdout: int | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._user = user
        self._programs = programs
        self._stdout = stdout
        self.cgroup: Path | None = None
        self._init: int | None = None

    def __enter__(self) -> DemoContainer:
        self._root = Path(tempfile.mkdtemp(prefix="boxtrace-demo-"))
        try:
            self._make_root()
            self.cgroup = self._make_cgroup()
            self._start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_root(self) -> None:
        busybox = shutil.which("busybox")
        if busybox is None:
            raise FileNotFoundError("busybox not found: install busybox-static")
        for directory in ("bin", "dev", "old", "proc", "tmp"):
            (self._root / directory).mkdir()
        for device in ("null", "zero", "urandom"):
            (self._root / "dev" / device).touch()
        self._root.chmod(0o755)
        for program in (Path(busybox), *self._programs):
            shutil.copy2(program, self._root / "bin" / program.name)
        applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for applet in applets:
            if not (self._root / "bin" / applet).exists():
                (self._root / "bin" / applet).symlink_to("busybox")

    def _make_cgroup(self) -> Path | None:
        """A cgroup of version 2 below our own; None where that is not mounted or not ours to write."""
        mount = next((line.split()[1] for line in _lines("/proc/mounts") if line.split()[2] == "cgroup2"), None)
        own = next((line.partition("::")[2] for line in _lines("/proc/self/cgroup") if line.startswith("0::")), None)
        if mount is None or own is None:
            return None
        cgroup = Path(mount + own.rstrip("/")) / self.name
        if cgroup.is_dir():
            try:
                cgroup.rmdir()  # it is left of one that was killed
            except OSError:
                raise FileExistsError(f"a container named {self.name!r} runs already: {cgroup} exists") from None
        try:
            cgroup.mkdir()
        except OSError:
            return None
        return cgroup

    def _start(self) -> None:
        kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--time"]
        if self._user or os.geteuid():
            kinds += ["--user", "--map-root-user"]
        script = ["/bin/sh", "-c", _SETUP, "sh", str(self._root), self.name, *self._command]
        ours, theirs = socket.socketpair()

        def enter() -> None:
            if self.cgroup is not None:
                (self.cgroup / "cgroup.procs").write_text("0")
            os.dup2(theirs.fileno(), 3)

        # The descriptors are set up by enter(), between fork and exec: 3 stays open there.
        self._process = subprocess.Popen(
            ["unshare", *kinds, "--fork", "--kill-child", "--propagation", "unchanged", *script],
            preexec_fn=enter,
            pass_fds=(3,),
            stdout=self._stdout,
        )
        theirs.close()
        with ours:
            if not ours.recv(1):
                raise RuntimeError(f"the container could not be set up: unshare ended with {self._process.wait()}")
            self.init_pid = int(_lines(f"/proc/{self._process.pid}/task/{self._process.pid}/children")[0])
            self._init = os.pidfd_open(self.init_pid)
            ours.send(b"\n")

    def wait(self) -> int:
        """Wait until the command ends, and return its exit status as a shell tells it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def stop(self) -> None:
        """Kill every process of the container, and remove its cgroup and files; once is enough."""
        if self._init is None:
            return
        if self._process.poll() is None:
            self._process.kill()  # the kernel then kills pid 1 (--kill-child), and with it all others
            self._process.wait()
        ended = select.poll()
        ended.register(self._init, select.POLLIN)
        ended.poll()
        os.close(self._init)
        self._init = None
        self._clean_up()

    def _clean_up(self) -> None:
        try:
            if self.cgroup is not None:
                remove_cgroup(self.cgroup)
        finally:
            shutil.rmtree(self._root)


def remove_cgroup(directory: Path, seconds: float = 30) -> None:
    """Remove a cgroup whose processes have ended.

    The kernel says EBUSY still for a moment after a process has been waited for: it leaves its cgroup last of all.

    :raises OSError: it has processes still after so many seconds, or cannot be removed.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return directory.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def main() -> int:
    """Run one container until its command ends, or a signal ends it."""
    parser = argparse.ArgumentParser(description="Start a small container without any container runtime.")
    parser.add_argument("--no-user", action="store_true", help="share the user namespace of the host")
    parser.add_argument("name")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with DemoContainer(options.name, options.command, user=not options.no_user) as container:
        return container.wait()


if __name__ == "__main__":
    sys.exit(main())
