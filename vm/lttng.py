"""LTTng's kernel tracer for a virtual machine: its modules, built for the machine's kernel, and its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vm.guest import add_commands
from vm.initramfs import Initramfs
from vm.kernels import Kernel, dependencies, fetch_packages

__all__ = ["SETUP", "add_lttng", "build_lttng_modules"]

SETUP = """
export HOME=/root LTTNG_HOME=/root
modprobe lttng-tracer
lttng-sessiond --daemonize >/dev/null 2>&1
"""
"""Shell commands that start LTTng in the machine."""

_SOURCE = "lttng-modules-dkms"
# Its probe for timers does not build against Debian's 6.1.
_LEFT_OUT = "lttng-probe-timer"
_SCHEMA = Path("/usr/share/xml/lttng/session.xsd")  # without it the session daemon ends when it starts


def build_lttng_modules(kernel: Kernel) -> Path:
    """Return a directory with the kernel's ``lib/modules``, in it LTTng's; built once, then kept beside the kernel.

    :raises LookupError: when the package lists do not have what is needed.
    :raises subprocess.CalledProcessError: when it cannot be fetched or built.
    """
    directory = kernel.image.parent.parent / "lttng"
    tree = directory / "tree"
    modules = tree / "lib/modules" / kernel.release
    if (modules / "modules.dep").exists():
        return tree
    headers = f"linux-headers-{kernel.release}"
    fetch_packages([headers, *dependencies(headers, "linux-headers-", "linux-kbuild-"), _SOURCE], directory)
    sources = directory / "usr/src"
    makefile = sources / headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("include /usr/src", f"include {sources}"))
    source = next(sources.glob("lttng-modules-*"))
    probes = source / "src/probes/Kbuild"
    probes.write_text("".join(line for line in probes.open() if _LEFT_OUT not in line))
    compiler = next(name for name in ("gcc-12", "gcc") if shutil.which(name))
    options = (f"-j{os.cpu_count()}", f"KERNELDIR={sources / headers}", f"CC={compiler}")
    subprocess.run(["make", *options, "modules"], check=True, capture_output=True, cwd=source)
    (modules / "extra").mkdir(parents=True, exist_ok=True)
    for built in (source / "src").rglob("*.ko"):
        subprocess.run(["strip", "--strip-debug", "-o", modules / "extra" / built.name, built], check=True)
    for table in (kernel.image.parent.parent / "lib/modules" / kernel.release).glob("modules.*"):
        shutil.copy(table, modules)
    subprocess.run(["depmod", "-b", tree, kernel.release], check=True)
    return tree


def add_lttng(files: Initramfs, kernel: Kernel) -> None:
    """Add LTTng's modules, its session and consumer daemons, and the command ``lttng``; start them by :data:`SETUP`."""
    files.add_tree(build_lttng_modules(kernel) / "lib/modules", "/lib/modules")
    add_commands(files, "lttng", "lttng-sessiond")
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    consumer = next(Path("/usr/lib").glob("*/lttng/libexec/lttng-consumerd"), None)
    if modprobe is None or consumer is None or not _SCHEMA.exists():
        raise FileNotFoundError("LTTng's tools are incomplete: install lttng-tools and kmod")
    files.add_program(Path(modprobe), "/sbin/modprobe")
    files.add_program(consumer)
    files.add_file(_SCHEMA)
    files.add_bytes("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    files.add_bytes("/etc/group", b"root:x:0:\n")
    files.add_directory("/root")
    files.add_directory("/var/run")
