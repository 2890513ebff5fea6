"""Small C programs whose system calls are known, compiled when a test needs them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.require import require_program

_SOURCES = Path(__file__).parents[1] / "kernel/workloads"
Workload = Callable[..., Path]


@pytest.fixture(scope="session")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """``workload(name, *flags)``: the static program made of ``tests/kernel/workloads/NAME.c``."""
    compiler = require_program("cc", "gcc")
    directory = tmp_path_factory.mktemp("workloads")

    def compile_once(name: str, *flags: str) -> Path:
        program = directory / name
        if not program.exists():
            source = _SOURCES / f"{name}.c"
            command = [compiler, "-O1", "-Wall", "-Werror", "-static", "-pthread", *flags, source, "-o", program]
            subprocess.run(command, check=True)
        return program

    return compile_once
