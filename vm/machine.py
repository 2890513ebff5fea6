"""A virtual machine that boots, runs one script, gives back files, and is gone."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vm.initramfs import Initramfs
from vm.kernels import Kernel

__all__ = ["MachineError", "Result", "run_in_machine"]

_MEMORY_MIB = 2048
_BOOT_SECONDS = 120

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/ TERM=dumb LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /out
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/shm /dev/pts && mount -t tmpfs tmpfs /dev/shm
ip link set lo up
timeout @TIMEOUT@ sh /job >/out/log 2>&1 </dev/null
echo $? >/out/status
stty -F /dev/ttyS1 raw -echo
tar -C /out -c . >/dev/ttyS1
sync
poweroff -f
"""


class MachineError(RuntimeError):
    """The machine did not come to its end: the kernel did not boot, or time ran out."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a script.

    :param status: its exit status.
    :param log: what it printed.
    :param files: directory with what it left in ``/out``.
    """

    status: int
    log: str
    files: Path


def run_in_machine(
    kernel: Kernel,
    files: Initramfs,
    script: str,
    directory: Path,
    *,
    cpus: int = 2,
    count_instructions: bool = False,
    timeout: float = 120,
) -> Result:
    """Boot a kernel, and run a shell script there as root; what it writes to ``/out`` comes back.

    :param files: what is there besides busybox.
    :param directory: where the files of ``/out`` go.
    :param count_instructions: one CPU, whose clocks count instructions: an instruction takes 1 ns, whatever it is.
    :param timeout: seconds that the script has; then its status is 143, and what it printed and left comes back.
    :raises MachineError: when the machine did not end soon after that, or did not run the script.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise MachineError("busybox not found: install busybox-static")
    files.add_file(Path(busybox), "/bin/busybox")
    for place in ("/proc", "/sys", "/dev", "/tmp", "/out", "/sbin", "/usr/bin", "/usr/sbin"):
        files.add_directory(place)
    files.add_bytes("/init", _INIT.replace("@TIMEOUT@", str(int(timeout))).encode(), executable=True)
    files.add_bytes("/job", script.encode())
    with tempfile.TemporaryDirectory(prefix="boxtrace-vm-") as scratch:
        initramfs, console, output = (Path(scratch) / name for name in ("initramfs", "console", "out.tar"))
        files.write(initramfs)
        clock = ["-icount", "shift=0,sleep=off", "-smp", "1"] if count_instructions else ["-smp", str(cpus)]
        command = [
            "qemu-system-x86_64",
            *("-machine", "q35,accel=tcg", "-cpu", "max", *clock, "-m", str(_MEMORY_MIB)),
            *("-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot", "-nic", "none"),
            *("-serial", f"file:{console}", "-serial", f"file:{output}"),
            *("-kernel", str(kernel.image), "-initrd", str(initramfs)),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable"),
        ]
        try:
            subprocess.run(
                command, check=True, timeout=timeout + _BOOT_SECONDS, stdin=subprocess.DEVNULL, capture_output=True
            )
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"not done {_BOOT_SECONDS} s after its time; console:\n{_tail(console)}") from error
        except subprocess.CalledProcessError as error:
            raise MachineError(f"qemu: {error.stderr.decode(errors='replace')}") from error
        return _collect(output.read_bytes(), directory, console)


def _tail(console: Path) -> str:
    text = console.read_text(errors="replace") if console.exists() else ""
    return "\n".join(text.splitlines()[-30:])


def _collect(archive: bytes, directory: Path, console: Path) -> Result:
    if not archive:
        raise MachineError(f"nothing came back; console:\n{_tail(console)}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    return Result(int((directory / "status").read_text()), (directory / "log").read_text(errors="replace"), directory)
