"""What system calls are measured under: boxtrace in several ways, and what exists, each switched on and off."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import Tools
from boxtrace import _native

__all__ = ["BOXTRACE", "TRACERS", "Recording", "Tracer", "empty_programs", "recording"]

BOXTRACE = (sys.executable, "-c", "from boxtrace.cli.main import main; main()")
"""The command line of boxtrace, of the Python that runs this."""

_INSTANCE = Path("/sys/kernel/tracing/instances/boxtrace-bench")
_RAW_SYSCALLS = ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit")
_START_SECONDS = 60.0
_TRACER_CPU = "0"


Attach = Callable[[int, Path, Tools], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Tracer:
    """One way to be traced.

    :param name: for the table.
    :param events: how many events it records of a system call.
    :param attach: given the pid of the workload, a directory to write to and what was compiled, traces
        while its context is entered.
    :param prefix: a command that the workload is started by, in place of being attached to.
    :param needs: a command, or the path of a file, that must be there.
    :param scale: by how much fewer calls are made, where one takes very long.
    """

    name: str
    events: int
    attach: Attach
    prefix: tuple[str, ...] = ()
    needs: str | None = None
    scale: int = 1

    @property
    def missing(self) -> str | None:
        """Why this cannot be measured here; None if it can."""
        if not self.needs or shutil.which(self.needs) or Path(self.needs).exists():
            return None
        return f"{self.needs} not found"


@contextmanager
def _stopped(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()


def _await(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start")
        time.sleep(0.05)


class Recording:
    """A running ``boxtrace record``.

    :param process: its process.
    :ivar lost: events it lost, known after its end.
    :ivar recorded: events it recorded, known after its end.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lost = 0
        self.recorded = 0

    def cpu_ms(self) -> float:
        """Return the CPU time of its threads, as the scheduler counts it."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6

    def read_summary(self, text: str) -> None:
        """Take the numbers from what it prints at its end."""
        numbers = {name: re.search(pattern, text) for name, pattern in _SUMMARY.items()}
        self.recorded, self.lost = (_number(numbers[name]) for name in ("recorded", "lost"))
        if numbers["recorded"] is None:
            raise RuntimeError(f"boxtrace record failed:\n{text}")


_SUMMARY = {"recorded": r"^([\d,]+) events in ", "lost": r"(?m)^LOST: ([\d,]+) events"}


def _number(match: re.Match[str] | None) -> int:
    return int(match[1].replace(",", "")) if match else 0


@contextmanager
def recording(trace: Path, *options: str, cpu: str | None = _TRACER_CPU) -> Iterator[Recording]:
    """Record by ``boxtrace record``, on another CPU than the workload's, or wherever the scheduler likes."""
    pinned = ["taskset", "-c", cpu] if cpu is not None else []
    command = [*pinned, *BOXTRACE, "record", "-o", str(trace), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    result = Recording(process)
    assert process.stderr is not None
    with _stopped(process):
        for line in process.stderr:
            if "Ctrl-C ends it" in line:
                break
        else:
            raise RuntimeError("boxtrace record did not start")
        time.sleep(0.3)  # the state dump of the host
        yield result
        process.send_signal(signal.SIGINT)
        result.read_summary(process.stderr.read())


def _boxtrace(*options: str, settle: float = 0) -> Attach:
    """Return what records with these options.

    :param settle: seconds that it has for what it prepares besides, before anything is measured.
    """

    @contextmanager
    def attach(pid: int, directory: Path, tools: Tools) -> Iterator[Recording]:
        chosen = [str(pid) if option == "PID" else option for option in options]
        with recording(directory / "trace", "--num-subbuf", "16", *chosen) as result:
            time.sleep(settle)
            yield result

    return attach


@contextmanager
def _bystander(pid: int, directory: Path, tools: Tools) -> Iterator[Recording]:
    """Record a process that does nothing: every event of the workload is rejected."""
    idle = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "600"], text=True)
    try:
        children = Path(f"/proc/{idle.pid}/task/{idle.pid}/children")
        _await(lambda: bool(children.read_text().split()), idle)
        inum = Path(f"/proc/{children.read_text().split()[0]}/ns/pid").stat().st_ino
        with recording(directory / "trace", "--pid-ns", str(inum)) as result:
            yield result
    finally:
        idle.kill()
        idle.wait()


@contextmanager
def empty_programs(tools: Tools) -> Iterator[None]:
    """Have BPF programs at every system call that do nothing."""
    programs = _native.BpfObject(tools.empty.read_bytes(), "empty")
    programs.load()
    links = [programs.attach(name) for name in programs.programs]
    yield
    for link in links:
        link.close()


def _empty(pid: int, directory: Path, tools: Tools) -> AbstractContextManager[object]:
    return empty_programs(tools)


@contextmanager
def _ftrace(pid: int, directory: Path, tools: Tools) -> Iterator[None]:
    """An instance of its own that overwrites its oldest events; nobody reads them."""
    _INSTANCE.mkdir()
    try:
        for event in _RAW_SYSCALLS:
            (_INSTANCE / "events" / event.replace(":", "/") / "enable").write_text("1")
        yield
    finally:
        (_INSTANCE / "events/enable").write_text("0")
        _INSTANCE.rmdir()


@contextmanager
def _perf(pid: int, directory: Path, tools: Tools) -> Iterator[None]:
    output = directory / "perf.data"
    events = [word for event in _RAW_SYSCALLS for word in ("-e", event)]
    command = ["taskset", "-c", _TRACER_CPU, "perf", "record", "-q", "-a", *events, "-o", str(output)]
    process = subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with _stopped(process):
        _await(lambda: output.exists() and output.stat().st_size > 0, process)
        time.sleep(0.5)
        yield


def _lttng(*contexts: str, track: str | None = None) -> Attach:
    @contextmanager
    def attach(pid: int, directory: Path, tools: Tools) -> Iterator[None]:
        commands = [
            ["create", "bench", f"--output={directory / 'lttng'}"],
            ["enable-channel", "--kernel", "--subbuf-size=1M", "--num-subbuf=16", "all"],
            *(
                [["add-context", "--kernel", "--channel=all", *(f"--type={name}" for name in contexts)]]
                if contexts
                else []
            ),
            ["enable-event", "--kernel", "--channel=all", "--syscall", "--all"],
            *([["track", "--kernel", track]] if track else []),
            ["start"],
        ]
        try:
            for command in commands:
                subprocess.run(["lttng", *command], check=True, stdout=subprocess.DEVNULL)
            time.sleep(0.5)  # its state dump
            yield
        finally:
            subprocess.run(["lttng", "destroy", "bench"], check=False, stdout=subprocess.DEVNULL)

    return attach


def _nothing(pid: int, directory: Path, tools: Tools) -> AbstractContextManager[object]:
    return nullcontext()


_REJECTING = "$ctx.tid > 0 && $ctx.pid_ns == 1"
"""Both terms are looked at."""

_USERS = tuple(word for number in range(100_000, 110_000) for word in ("--uid", str(number)))

_LTTNG_CONTEXTS = (
    *("procname", "pid", "tid", "vpid", "vtid", "ppid"),
    *("cgroup_ns", "ipc_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns"),
)
"""Those of boxtrace but for ``mnt_ns``, which LTTng's modules cannot tell on most kernels."""

TRACERS: Sequence[Tracer] = (
    Tracer("no tracing", 0, _nothing),
    Tracer("empty BPF programs", 0, _empty),
    Tracer("boxtrace, all contexts", 2, _boxtrace()),
    Tracer("boxtrace, no contexts", 2, _boxtrace("--context", "none")),
    Tracer("boxtrace, all contexts, selected by pid", 2, _boxtrace("--pid", "PID")),
    Tracer("boxtrace, rejected by pid namespace", 0, _bystander),
    Tracer("boxtrace, rejected by a set of ten thousand users", 0, _boxtrace(*_USERS, settle=5)),
    Tracer("boxtrace, rejected by a filter of two terms", 0, _boxtrace("-e", "syscall_*", "--filter", _REJECTING)),
    Tracer("ftrace, no contexts", 2, _ftrace),
    Tracer("LTTng, 13 contexts", 2, _lttng(*_LTTNG_CONTEXTS), needs="/proc/lttng"),
    Tracer("LTTng, no contexts", 2, _lttng(), needs="/proc/lttng"),
    Tracer("LTTng, rejected by its tracker of one pid", 0, _lttng(track="--pid=1"), needs="/proc/lttng"),
    Tracer("perf record", 2, _perf, needs="perf", scale=10),
    Tracer("strace", 1, _nothing, prefix=("strace", "-o", "/dev/null"), needs="strace", scale=200),
)
"""Everything that is compared, in the order of the table; the first is what the others are compared with."""
