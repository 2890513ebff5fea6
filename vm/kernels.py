"""Kernels of the distribution, fetched as packages and unpacked without being installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Kernel", "dependencies", "fetch_debian_kernel", "fetch_packages"]

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "kernels"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can be booted.

    :param release: what ``uname -r`` tells there.
    :param image: the compressed kernel.
    """

    release: str
    image: Path


def _run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout


def dependencies(package: str, *prefixes: str) -> list[str]:
    """Return those packages that a package depends on whose names begin so."""
    found = []
    for line in _run("apt-cache", "depends", package).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith(prefixes):
            found.append(name)
    return found


def fetch_packages(packages: Iterable[str], directory: Path) -> None:
    """Download packages and unpack them into a directory, without installing them.

    :raises subprocess.CalledProcessError: when one cannot be downloaded.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _run("apt-get", "download", *packages, cwd=directory)
    for archive in directory.glob("*.deb"):
        _run("dpkg-deb", "--extract", str(archive), str(directory))
        archive.unlink()


def _package_of(meta_package: str) -> str:
    """Return the package of the very kernel that a meta package asks for."""
    for name in dependencies(meta_package, "linux-image-"):
        return name
    raise LookupError(f"{meta_package} depends on no kernel: run apt-get update")


def fetch_debian_kernel(meta_package: str = "linux-image-cloud-amd64") -> Kernel:
    """Return the distribution's current kernel, from the cache when it was fetched before.

    :raises LookupError: when the package lists do not have it.
    :raises subprocess.CalledProcessError: when it cannot be downloaded.
    """
    package = _package_of(meta_package)
    directory = CACHE / package
    images = sorted(directory.glob("boot/vmlinuz-*"))
    if not images:
        fetch_packages([package], directory)
        images = sorted(directory.glob("boot/vmlinuz-*"))
    if not images:
        raise LookupError(f"{package} holds no kernel image")
    return Kernel(images[-1].name.removeprefix("vmlinuz-"), images[-1])
