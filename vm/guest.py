"""What a virtual machine needs to run boxtrace: this Python, the package as installed here, and what it depends on."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import boxtrace
import boxtrace._native
from vm.initramfs import Initramfs

__all__ = ["SITE", "add_boxtrace", "add_commands"]

SITE = "/site"
"""Where packages are in the machine: its PYTHONPATH."""

_UNWANTED = (
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "site-packages"),
    *("distutils", "dist-packages", "unittest"),
)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _dependencies(distribution: str, found: set[str] | None = None) -> set[str]:
    """Return the distributions that one needs at run time, itself not included."""
    found = set() if found is None else found
    for requirement in metadata.requires(distribution) or ():
        match = _NAME.match(requirement)
        if match is None or "extra ==" in requirement or match[0] in found:
            continue
        try:
            metadata.distribution(match[0])
        except metadata.PackageNotFoundError:  # for another platform
            continue
        found.add(match[0])
        _dependencies(match[0], found)
    return found


def _add_python(files: Initramfs) -> None:
    executable = Path(sys.executable).resolve()
    files.add_program(executable)
    files.add_link("/usr/bin/python3", str(executable))
    standard = Path(sysconfig.get_path("stdlib"))
    files.add_tree(standard, skip=_UNWANTED)
    for module in (standard / "lib-dynload").glob("*.so"):
        files.add_libraries(module)


def add_boxtrace(files: Initramfs) -> None:
    """Add Python, boxtrace and its dependencies, and the command ``boxtrace``."""
    _add_python(files)
    for name in sorted(_dependencies("boxtrace")):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                files.add_file(source, f"{SITE}/{file}")
                if source.suffix == ".so":
                    files.add_libraries(source)
    sources = Path(boxtrace.__file__).parent
    native = Path(boxtrace._native.__file__)
    files.add_tree(sources, f"{SITE}/boxtrace")
    files.add_tree(native.parent, f"{SITE}/boxtrace")  # where an editable install keeps what was compiled
    files.add_libraries(native)
    script = f"#!/bin/sh\nPYTHONPATH={SITE} exec /usr/bin/python3 -c 'import boxtrace.cli.main as m; m.main()' \"$@\"\n"
    files.add_bytes("/usr/bin/boxtrace", script.encode(), executable=True)


def add_commands(files: Initramfs, *names: str) -> None:
    """Add commands of this machine, for what busybox does not have or does otherwise.

    :raises FileNotFoundError: for one that is not here.
    """
    for name in names:
        found = shutil.which(name)
        if found is None:
            raise FileNotFoundError(f"{name} not found")
        files.add_program(Path(found), f"/usr/bin/{name}")
