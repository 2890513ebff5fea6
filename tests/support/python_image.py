"""A root file system that holds the running Python interpreter and its standard library, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from support.rootfs import copy_libraries, make_rootfs
from support.user import PYTHON_CLIENT

_LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip", "site-packages", "config-*", "*.a")


def make_python_rootfs(root: Path) -> Path:
    """Python is ``/usr/local/bin/python3`` there, as in the images that people use."""
    make_rootfs(root)
    interpreter = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
    target = root / "usr/local/bin/python3"
    target.parent.mkdir(parents=True)
    shutil.copy2(interpreter, target)
    copy_libraries(interpreter, root)
    library = Path(sysconfig.get_path("stdlib"))
    copied = root / "usr/local/lib" / library.name
    shutil.copytree(library, copied, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for module in (copied / "lib-dynload").glob("*.so"):
        copy_libraries(module, root)
    return root


def copy_client(directory: Path) -> Path:
    """Copy both clients, without what was built in the tree; return the place of the Python client."""
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    return shutil.copytree(PYTHON_CLIENT.parent, directory, ignore=ignored) / PYTHON_CLIENT.name


def build_wheel(directory: Path, *, compiler: bool = True) -> Path:
    """Build the client's wheel as its users do, on a machine with or without a compiler."""
    source = copy_client(directory / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    environment = dict(os.environ, **({} if compiler else {"PATH": "/nowhere"}))
    subprocess.run([*command, "-w", str(directory / "wheels"), str(source)], env=environment, check=True)
    (wheel,) = (directory / "wheels").glob("*.whl")
    return wheel
