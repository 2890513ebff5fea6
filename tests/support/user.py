"""A host of the user domain with its trace, and programs built with the C client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from boxtrace.kernel.image import possible_cpus
from boxtrace.kernel.task_records import TaskRecords
from boxtrace.session.clock import monotonic_clock
from boxtrace.trace import Event, open_trace
from boxtrace.userspace.host import UserHost
from boxtrace.userspace.layout import user_trace_class
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.placement import listen_at
from boxtrace.userspace.rings import Account
from support.require import require_program

ROOT = Path(__file__).parents[2]
C_CLIENT = ROOT / "client/c"
PYTHON_CLIENT = ROOT / "client/python"
_KERNEL_HEADERS = ("/usr/include", f"/usr/include/{os.uname().machine}-linux-gnu")
"""Where musl's compiler does not look; only for what musl itself does not have."""


class Recording:
    """A host that records to ``directory``, reached by the socket ``path``."""

    def __init__(self, directory: Path, path: Path, **options: Any) -> None:
        self.directory = directory
        self.path = path
        trace = user_trace_class(
            name="test",
            hostname="host",
            uuid=uuid4(),
            clock=monotonic_clock(),
            created=datetime.now(UTC),
            version="0",
        )
        self.output = UserOutput(directory / "ust", trace)
        if os.geteuid() == 0:
            options.setdefault("tasks", lambda: TaskRecords(possible_cpus()))
        self.host = UserHost(self.output, options.pop("patterns", ["*"]), **{"flush_seconds": 0.1, **options})
        self.host.add_listener(listen_at(path))
        self.host.start()
        self.account: Account | None = None

    def stop(self) -> Account:
        if self.account is None:
            self.account = self.host.stop()
            self.output.close()
        return self.account

    def wait_for_events(self, number: int, seconds: float = 20) -> int:
        """Wait until so many are recorded; return how many are."""
        deadline = time.monotonic() + seconds
        while self.host.account.events < number and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.host.account.events

    def events(self) -> list[Event]:
        """End the recording, and return its events."""
        self.stop()
        trace = open_trace(self.directory)
        found = list(trace.events())
        assert not trace.failures
        return found

    def lost(self) -> int:
        """Events that the trace says to be lost."""
        self.stop()
        losses = list(open_trace(self.directory).losses())
        assert {loss.kind for loss in losses} <= {"event"}
        assert None not in [loss.count for loss in losses]
        return sum(loss.count or 0 for loss in losses)

    def environment(self) -> dict[str, str]:
        return dict(os.environ, BOXTRACE_SOCKET=str(self.path))

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment(), check=True, text=True, stdout=subprocess.PIPE, timeout=60, **options
        )


@pytest.fixture
def record_user(tmp_path: Path) -> Iterator[Callable[..., Recording]]:
    """``record_user(**options)`` starts a host; all are stopped at the end of the test."""
    with ExitStack() as stack:

        def start(name: str = "trace", **options: Any) -> Recording:
            recording = Recording(tmp_path / name, tmp_path / "socket", **options)
            stack.callback(recording.stop)
            return recording

        yield start


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def build(
    source: Path, target: Path, *, compiler: str = "gcc", options: tuple[str, ...] = (), contexts: bool = True
) -> Path:
    """Build a program of one file with the C client.

    :param contexts: also with the part of the client that is optional.
    """
    require_program(compiler, {"musl-gcc": "musl-tools", "g++": "g++"}.get(compiler, "gcc"))
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", f"-I{C_CLIENT}", *options]
    if compiler == "musl-gcc":
        flags += ["-static", *(f"-idirafter{path}" for path in _KERNEL_HEADERS)]
    parts = ["boxtrace", "boxtrace_contexts"] if contexts else ["boxtrace"]
    objects = [*(target.with_suffix(f".{part}.o") for part in parts), target.with_suffix(".o")]
    c_compiler = "gcc" if compiler == "g++" else compiler
    commands = [
        *(
            [c_compiler, "-std=c11", *flags, "-c", str(C_CLIENT / f"{part}.c"), "-o", str(built)]
            for part, built in zip(parts, objects, strict=False)
        ),
        [compiler, *(["-x", "c++"] if compiler == "g++" else []), *flags, "-c", str(source), "-o", str(objects[-1])],
        [compiler, *flags, *map(str, objects), "-o", str(target), "-lpthread"],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    return target


def build_python_client(directory: Path) -> Path:
    """Build the Python client with its native part; return what to put on the path."""
    package = shutil.copytree(PYTHON_CLIENT / "src/boxtrace_client", directory / "boxtrace_client")
    include = f"-I{sysconfig.get_paths()['include']}"
    module = package / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [
        PYTHON_CLIENT / "src/boxtrace_client/native.c",
        C_CLIENT / "boxtrace.c",
        C_CLIENT / "boxtrace_contexts.c",
    ]
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run(["gcc", *flags, include, f"-I{C_CLIENT}", *map(str, sources), "-o", str(module)], check=True)
    return directory
