"""The program whose system calls are measured: built, started, and asked how long it took."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["Batches", "Tools", "Workload", "build_tools", "build_workload", "compile_program"]

_SOURCE = Path(__file__).with_name("syscalls.c")
_EMPTY = Path(__file__).with_name("empty.bpf.c")


@dataclass(frozen=True, slots=True)
class Tools:
    """What was compiled for measuring.

    :param program: makes the system calls.
    :param empty: BPF programs that do nothing.
    """

    program: Path
    empty: Path


def _compile(source: Path, output: Path, *options: str) -> Path:
    compiler = [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run([*compiler, *options, "-O2", str(source), "-o", str(output)], check=True)
    return output


def compile_program(source: Path, output: Path) -> Path:
    """Compile a program of one file, statically, with the compiler of the ``ziglang`` wheel."""
    return _compile(source, output, "-target", f"{platform.machine()}-linux-musl", "-static")


def build_workload(directory: Path) -> Path:
    """Compile the program."""
    return compile_program(_SOURCE, directory / "syscalls")


def build_tools(directory: Path) -> Tools:
    """Compile everything."""
    target = [
        "-target",
        "bpfel-freestanding-none",
        "-mcpu=v3",
        "-g",
        "-c",
        "-fno-stack-protector",
        "-fno-unwind-tables",
    ]
    return Tools(build_workload(directory), _compile(_EMPTY, directory / "empty.bpf.o", *target))


@dataclass(frozen=True, slots=True)
class Batches:
    """How long batches of system calls took.

    :param calls: in each batch.
    :param took: ns of each batch.
    """

    calls: int
    took: tuple[int, ...]

    @property
    def per_call(self) -> float:
        """Median over the batches, in ns for one call."""
        return statistics.median(self.took) / self.calls


class Workload:
    """The program, started and waiting; use it as a context manager.

    :param prefix: a command that runs it, such as ``strace``.
    :param cpu: which CPU it stays on; -1 for any.
    """

    def __init__(self, program: Path, *, cpu: int, batches: int, calls: int, prefix: Sequence[str] = ()) -> None:
        self._calls = calls
        self._process = subprocess.Popen(
            [*prefix, str(program), str(cpu), str(batches), str(calls)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"the workload did not start: {line!r}")
        self.pid = int(line)

    def __enter__(self) -> Workload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Let it make its calls."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self) -> Batches:
        """Wait until it has made them.

        :raises RuntimeError: when it failed.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the workload ended with {self._process.returncode}")
        return Batches(self._calls, tuple(int(line) for line in output.split()))
