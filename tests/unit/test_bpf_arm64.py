"""The BPF programs compile for the other architecture, too."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from support.require import missing, require_program

PROGRAMS = Path(__file__).parents[2] / "src/boxtrace/kernel/bpf"
FLAGS = (
    *("-target", "bpfel-freestanding-none", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *("-Wno-unused-parameter", "-Wno-sign-compare", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    *("-fno-stack-protector", "-D__TARGET_ARCH_arm64"),
)


@pytest.mark.parametrize("source", sorted(PROGRAMS.glob("*.bpf.c")), ids=lambda path: path.name)
def test_programs_compile_for_arm64(source: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        missing("ziglang is not installed (build dependency)")
    pkg_config = require_program("pkg-config", "pkg-config")
    include = subprocess.run(
        [pkg_config, "--variable=includedir", "libbpf"], capture_output=True, text=True
    ).stdout.strip()
    if not include:
        missing("libbpf is not installed (package libbpf-dev)")
    multiarch = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    includes = ["-isystem", include, "-idirafter", f"{include}/{multiarch}"]
    target = tmp_path / "program.o"
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *includes]
    done = subprocess.run([*command, "-c", str(source), "-o", str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert target.stat().st_size > 0
