"""A root file system with busybox, and further programs of the host with the libraries that they need."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.require import require_program


def make_rootfs(root: Path, programs: Sequence[Path] = ()) -> Path:
    busybox = require_program("busybox", "busybox-static")
    for directory in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").touch()  # systemd-nspawn takes a tree without it for no operating system
    shutil.copy2(busybox, root / "bin/busybox")
    for applet in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for program in programs:
        _copy_with_libraries(program, root)
    return root


def _copy_with_libraries(program: Path, root: Path) -> None:
    shutil.copy2(program, root / "bin" / program.name)
    copy_libraries(program, root)


def copy_libraries(program: Path, root: Path) -> None:
    """Copy what a program or library of the host needs to the same places of a root file system."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        target = root / library.lstrip("/")
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
