"""Several channels, and flight recordings: what is held in memory is written when it is asked for, and is whole."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from boxtrace.trace import Trace, open_trace
from boxtrace.trace.containers import TraceContainers
from support.recorder import BOXTRACE, Recorder, babeltrace_counter, check_valid, record_command, until
from support.workloads import Workload

_LOOP = "import os\nwhile True: os.getppid()"


@contextmanager
def load() -> Iterator[None]:
    """Both CPUs busy with system calls."""
    with ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            process = subprocess.Popen([sys.executable, "-c", _LOOP])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def check_snapshot(path: Path) -> tuple[int, int]:
    """Check that a snapshot is a valid trace without gaps; return how many events it holds, and its state dump."""
    trace: Trace = open_trace(path)
    last: dict[str, int] = {}
    count = dumped = 0
    for stream in trace.streams:
        heads = [packet.head for packet in stream.packets]
        numbers = [head.sequence for head in heads]
        assert all(after == before + 1 for before, after in pairwise(numbers) if before is not None)
        assert all(before.end <= after.begin for before, after in pairwise(heads))
    for event in trace.events():
        key = event.stream.path.name
        count += not key.startswith("statedump_")
        dumped += key.startswith("statedump_")
        assert event.timestamp is not None
        assert event.timestamp >= last.get(key, 0)
        last[key] = event.timestamp
    assert count + dumped == babeltrace_counter(path)
    return count, dumped


def test_snapshots_under_load_are_whole(tmp_path: Path) -> None:
    output = tmp_path / "flight"
    arguments = ("--flight-recorder", "-e", "syscall_*", "--subbuf-size", "64k", "--num-subbuf", "4")
    with load(), Recorder(output, *arguments, wait=False) as recorder:
        recorder.wait_for("recording in memory")
        time.sleep(1)
        recorder.process.send_signal(signal.SIGUSR1)
        until(lambda: len(list(output.glob("snapshot-*"))) == 1)
        asked = [
            subprocess.run(
                [*BOXTRACE, "snapshot", str(recorder.process.pid)], capture_output=True, text=True, check=True
            )
            for _ in range(3)
        ]
        recorded = recorder.stop()
    assert recorded.status == 0, recorded.stderr
    paths = sorted(output.glob("snapshot-*"))
    assert sorted(Path(done.stdout.strip()) for done in asked) == paths[1:]
    assert re.findall(r"^trace: (.*)$", recorded.stderr, re.MULTILINE) == [str(path) for path in paths]
    counts = [check_snapshot(path) for path in paths]
    # Four sub-buffers of 64 KiB per CPU, of which one is being filled; a record has 82 bytes or a little more.
    most = 4 * len(os.sched_getaffinity(0)) * 65536 / 82
    assert all(1000 < count < most for count, _ in counts)
    assert recorded.summary_events == sum(map(sum, counts))


def test_each_snapshot_stands_alone(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    """A state dump is in each, whole, however much has overwritten what was recorded at the start."""
    output = tmp_path / "flight"
    container = demo_container("quiet", "sleep", "1000")
    arguments = ("--flight-recorder", "-e", "syscall_*", "--subbuf-size", "16k", "--num-subbuf", "2")
    with load(), Recorder(output, *arguments, "--context", "procname,tid,pid_ns", wait=False) as recorder:
        recorder.wait_for("recording in memory")
        paths = []
        for _ in range(2):
            time.sleep(0.3)
            asked = subprocess.run([*BOXTRACE, "snapshot", str(recorder.process.pid)], capture_output=True, check=True)
            paths.append(Path(asked.stdout.decode().strip()))
        recorder.stop()
    for path in paths:
        events = Counter(event.name for event in open_trace(path).events())
        assert events["lttng_statedump_start"] == events["lttng_statedump_end"] == 1
        assert events["lttng_statedump_process_state"] > 50
        assert not list(open_trace(path).losses())
        trace = TraceContainers(open_trace(path))
        (row,) = trace.pids("quiet")
        assert (row.host_pid, row.pid, row.name) == (container.init_pid, 1, "sleep")
        assert os.getpid() in {process.pid for process in trace.state.processes}


def test_no_state_dump_every_so_often_in_a_flight_recording(tmp_path: Path) -> None:
    command = [*BOXTRACE, "record", "--flight-recorder", "--state-dump-every", "1s", "-o", str(tmp_path / "x")]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2 and "each snapshot of a flight recording has a state dump" in failed.stderr


def missing_calls(trace: Trace) -> dict[str, int]:
    """Return, by stream, how many numbers are missing of those that each process counts through.

    From the end of the first packet on: what is lost from there is told by the difference of ``events_discarded``.
    """
    last: dict[tuple[str, int], int] = {}
    gaps: Counter[str] = Counter()
    begin = {stream.path.name: stream.packets[0].head.end for stream in trace.streams}
    for event in trace.events():
        stream, number = event.stream.path.name, event["fd"]
        before = last.get((stream, event["pid"]), number - 1)
        last[stream, event["pid"]] = number
        cycles, end = event.record.cycles, begin[stream]
        assert number > before and cycles is not None and end is not None
        gaps[stream] += number - before - 1 if cycles > end else 0
        assert number == before + 1 or cycles > end or trace_lost(trace, stream)
    return gaps


def trace_lost(trace: Trace, name: str) -> int:
    """How many events the first packet of a stream says are lost."""
    return next(stream.packets[0].head.discarded or 0 for stream in trace.streams if stream.path.name == name)


def test_snapshots_of_an_overrun_recorder_miss_nothing_uncounted(workload: Workload, tmp_path: Path) -> None:
    """The buffers are overwritten hundreds of times in a second; what a snapshot holds is contiguous all the same."""
    output, program = tmp_path / "flight", workload("numbered")
    with ExitStack() as stack:
        pids = []
        for cpu in sorted(os.sched_getaffinity(0)):
            process = subprocess.Popen(["taskset", "-c", str(cpu), program])
            stack.callback(process.wait)
            stack.callback(process.kill)
            pids += ["--pid", process.pid]
        options = ("--flight-recorder", "--no-state-dump", "-e", "syscall_entry_close", "--context", "pid")
        size = ("--subbuf-size", "16k", "--num-subbuf", "4")
        recorder = stack.enter_context(Recorder(output, *options, *size, *pids, wait=False))
        recorder.wait_for("recording in memory")
        for _ in range(5):
            subprocess.run([*BOXTRACE, "snapshot", str(recorder.process.pid)], capture_output=True, check=True)
        recorded = recorder.stop()
    assert recorded.status == 0, recorded.stderr
    paths = sorted(output.glob("snapshot-*"))
    assert len(paths) == 5
    for path in paths:
        assert check_snapshot(path)[0] > 1000
        trace = open_trace(path)
        for stream in trace.streams:
            first, *_, final = (packet.head.discarded or 0 for packet in stream.packets)
            assert 0 <= missing_calls(trace)[stream.path.name] <= final - first


def test_a_flight_recording_writes_nothing_by_itself(tmp_path: Path) -> None:
    output = tmp_path / "flight"
    recorded = record_command(output, "--flight-recorder", command=["true"])
    assert recorded.status == 0
    assert "nothing was written" in recorded.stderr
    assert not output.exists()


@pytest.mark.parametrize("size", ["4k", "100k"])  # too small for the metadata, for the packets
def test_nothing_is_left_of_a_snapshot_that_finds_no_room(size: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=True)
    try:
        options = ("-e", "syscall_*_getppid", "--no-state-dump", "--subbuf-size", "64k", "--num-subbuf", "4")
        with Recorder(disk / "flight", "--flight-recorder", *options, wait=False) as recorder:
            recorder.wait_for("recording in memory")
            subprocess.run([sys.executable, "-c", "import os\nfor _ in range(20000): os.getppid()"], check=True)
            command = [*BOXTRACE, "snapshot", str(recorder.process.pid)]
            refused = subprocess.run(command, capture_output=True, text=True)
            assert refused.returncode == 1
            assert "No space left on device" in refused.stderr
            assert not list(disk.glob("flight/*"))
            recorder.process.send_signal(signal.SIGUSR1)
            recorder.wait_for("no snapshot: ")
            assert not list(disk.glob("flight/*"))
            subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            recorder.stop()
        (snapshot,) = disk.glob("flight/*")
        assert check_snapshot(snapshot)[0] > 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_recording_that_writes_has_no_snapshot(tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace") as recorder:
        asked = subprocess.run([*BOXTRACE, "snapshot", str(recorder.process.pid)], capture_output=True, text=True)
        recorded = recorder.stop()
    assert asked.returncode == 1
    assert "nothing to take a snapshot of" in asked.stderr
    check_valid(recorded)


def test_channels_have_their_own_rules_contexts_and_buffers(workload: Workload, tmp_path: Path) -> None:
    program = workload("getppid")
    script = f"{program} 1000 & sleep 0.5; kill -USR1 $!; wait $!"
    rules = ("-e", "syscall_*_getppid", "--context", "tid", "--subbuf-size", "16k", "--channel", "calls")
    more = ("-e", "sched_*", "--context", "procname,pid_ns", "--channel", "sched")
    recorded = record_command(tmp_path / "trace", *rules, *more, command=["sh", "-c", script])
    check_valid(recorded)
    calls = [event for event in recorded.events if event.stream.path.name.startswith("calls_")]
    threads = Counter(event["tid"] for event in recorded.named("syscall_entry_getppid", "syscall_exit_getppid"))
    assert max(threads.values()) == 2000  # the shell asks once, too
    assert {event.name for event in calls if "statedump_" not in event.name} == {
        "syscall_entry_getppid",
        "syscall_exit_getppid",
    }
    assert set(calls[0].context) == {"tid"}
    others = [event for event in recorded.events if event.stream.path.name.startswith("sched_")]
    assert others
    assert all(event.name.startswith("sched_") for event in others)
    assert set(others[0].context) == {"procname", "pid_ns"}


@pytest.mark.parametrize("pid", ["1", "999999999"])
def test_there_is_no_such_recording(pid: str) -> None:
    asked = subprocess.run([*BOXTRACE, "snapshot", pid], capture_output=True, text=True)
    assert asked.returncode == 1
    assert f"process {pid} is no recording of yours" in asked.stderr
