"""The BPF programs compile for every machine that boxtrace is for, whichever this one is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.require import require_program

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src/boxtrace/kernel/bpf").glob("*.bpf.c"))


def flags(architecture: str) -> list[str]:
    """Return the compiler's options as the build has them, for one machine."""
    text = re.search(r"set\(BOXTRACE_BPF_FLAGS (.*?)\)", (ROOT / "cmake/bpf.cmake").read_text(), re.DOTALL)
    assert text is not None
    require_program("pkg-config", "pkg-config")
    include = subprocess.run(
        ["pkg-config", "--variable=includedir", "libbpf"], capture_output=True, text=True, check=True
    )
    triplet = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()
    words = text[1].replace("${BOXTRACE_BPF_ARCH}", architecture).replace("${CMAKE_C_LIBRARY_ARCHITECTURE}", triplet)
    return shlex.split(words.replace("${BOXTRACE_LIBBPF_INCLUDE}", include.stdout.strip()))


@pytest.mark.parametrize("architecture", ["x86", "arm64"])
@pytest.mark.parametrize("source", [pytest.param(path, id=path.name) for path in SOURCES])
def test_the_program_compiles(source: Path, architecture: str, tmp_path: Path) -> None:
    options = flags(architecture)
    assert f"-D__TARGET_ARCH_{architecture}" in options
    compiler = [sys.executable, "-m", "ziglang", "cc", *options]
    done = subprocess.run(
        [*compiler, "-c", str(source), "-o", str(tmp_path / "object")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
