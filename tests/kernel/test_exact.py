"""Nothing lies: every call of a known number of calls is recorded, or counted as lost."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.recorder import (
    Recorded,
    Recorder,
    babeltrace_counter,
    babeltrace_text,
    check_packets,
    check_valid,
    kernel_part,
    until,
)
from support.workloads import Workload

GETPPID = ("-e", "syscall_*_getppid", "--no-state-dump")
DemoContainer = Callable[..., Any]


def start(pid: int) -> None:
    """Let a ``getppid`` go on that waits for its signal."""

    def waits() -> bool:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
        return name == "getppid" and rest[0] == "S"

    until(waits)
    os.kill(pid, signal.SIGUSR1)


@contextmanager
def busy(program: Path) -> Iterator[None]:
    """Two processes that make system calls without end, one on each CPU."""
    with ExitStack() as stack:
        for cpu in sorted(os.sched_getaffinity(0)):
            process = subprocess.Popen(["taskset", "-c", str(cpu), program, "1000000000"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            start(process.pid)
        yield


def record_million(container: DemoContainer, program: Path, output: Path, *arguments: str) -> Recorded:
    demo = container("boxtrace-million", "getppid", "1000000", programs=(program,))
    with Recorder(output, "--container", "boxtrace-million", *GETPPID, *arguments) as recorder:
        start(demo.init_pid)
        return recorder.wait()  # ends with the container


def check_equation(recorded: Recorded) -> int:
    """Check that recorded and lost are two million, by packets, summary and babeltrace2; return what was lost."""
    assert recorded.status == 0
    check_packets(recorded)
    events = babeltrace_counter(kernel_part(recorded.path))
    assert events + recorded.discarded == 2_000_000
    assert (recorded.kernel_events, recorded.summary_lost) == (events, recorded.discarded)
    return recorded.discarded


def test_a_million_calls_in_a_container(demo_container: DemoContainer, workload: Workload, tmp_path: Path) -> None:
    options = ("--subbuf-size", "4M", "--num-subbuf", "16", "--context", "pid_ns,vpid")
    recorded = record_million(demo_container, workload("getppid"), tmp_path / "trace", *options)
    assert check_equation(recorded) == 0
    assert babeltrace_text(kernel_part(recorded.path)) == {
        "syscall_entry_getppid": 1_000_000,
        "syscall_exit_getppid": 1_000_000,
    }


@pytest.mark.parametrize("size", ["16k", "64k"])
def test_equation_holds_under_overload(
    demo_container: DemoContainer, workload: Workload, tmp_path: Path, size: str
) -> None:
    program = workload("getppid")
    with busy(program):
        options = ("--subbuf-size", size, "--num-subbuf", "2")
        recorded = record_million(demo_container, program, tmp_path / "trace", *options)
    assert check_equation(recorded) > 0


def test_equation_holds_for_two_processes_on_every_cpu(workload: Workload, tmp_path: Path) -> None:
    """With all events on, which interrupt each other; what is not getppid is recorded, too."""
    program = workload("getppid")
    with ExitStack() as stack:
        processes = []
        for cpu in (0, 1, 0, 1):
            process = subprocess.Popen(["taskset", "-c", str(cpu), program, "100000"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        chosen = [argument for process in processes for argument in ("--pid", process.pid)]
        recorder = stack.enter_context(Recorder(tmp_path / "trace", *chosen, *GETPPID, "--subbuf-size", "16k"))
        for process in processes:
            start(process.pid)
        recorded = recorder.wait()
    check_valid(recorded)
    assert len(recorded.events) + recorded.discarded == 800_000
    assert {event.context["pid"] for event in recorded.events} <= {process.pid for process in processes}


def test_equation_holds_in_every_channel(workload: Workload, tmp_path: Path) -> None:
    """Each has its own buffers, and its own account of what did not fit into them."""
    small = ("-e", "syscall_*_getppid", "--subbuf-size", "16k", "--num-subbuf", "2", "--channel", "small")
    tiny = ("-e", "syscall_*_getppid", "--context", "none", "--subbuf-size", "16k", "--num-subbuf", "4")
    with ExitStack() as stack:
        process = subprocess.Popen([workload("getppid"), "300000"])
        stack.callback(process.wait)
        stack.callback(process.kill)
        options = (*small, *tiny, "--no-state-dump", "--pid", process.pid)
        recorder = stack.enter_context(Recorder(tmp_path / "trace", *options))
        recorder.process.send_signal(signal.SIGSTOP)  # so that nobody empties the buffers
        start(process.pid)
        process.wait()
        recorder.process.send_signal(signal.SIGCONT)
        recorded = recorder.wait()
    check_packets(recorded)
    accounts: Counter[str] = Counter()
    lost = 0
    for stream in recorded.trace.streams:
        discarded = stream.packets[-1].head.discarded or 0
        accounts[stream.path.name.rpartition("_")[0]] += discarded
        lost += discarded
    for event in recorded.events:
        accounts[event.stream.path.name.rpartition("_")[0]] += 1
    assert +accounts == {"small": 600_000, "channel0": 600_000}
    assert recorded.summary_lost == lost > 0


def test_whole_host_with_all_events_under_overload(workload: Workload, tmp_path: Path) -> None:
    with busy(workload("getppid")), Recorder(tmp_path / "trace", "--subbuf-size", "16k", "-d", "1s") as recorder:
        recorded = recorder.wait()
    assert recorded.status == 0 and recorded.summary_lost > 0
    check_packets(recorded)
    assert babeltrace_counter(recorded.path) == recorded.summary_events
    assert recorded.summary_lost == recorded.discarded
