"""Containers that start while recording: the demo's own, which no runtime knows; Docker's are in tests/interop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from boxtrace.errors import BoxtraceError
from boxtrace.session.control import ask_recording
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers
from support.demo import load_demo
from support.newborns import RECORDED, check_lives, check_newborns
from support.recorder import Recorded, Recorder, babeltrace_counter, check_valid, until
from support.require import require_program, require_root

PROGRAM = "/bin/usleep"
OURS = f"t{os.getpid()}"
"""In all names: other tests may run beside these."""
_COUNT = re.compile(r"^  (\S.*?) +(-?[\d,]+) events", re.MULTILINE)
"""A line of the summary: what was recorded of one container."""


@pytest.fixture(scope="module")
def short_lived() -> Iterator[Any]:
    """Run a demo container from a root directory that all share: ``short_lived(name, *command)``."""
    require_root()
    require_program("busybox", "busybox-static")
    require_program("unshare", "util-linux")
    demo = load_demo()
    template = demo.DemoContainer("template", [])
    root = Path(demo.tempfile.mkdtemp(prefix="boxtrace-demo-"))
    template._root = root
    template._make_root()

    class Shared(demo.DemoContainer):  # type: ignore[misc, name-defined]
        def _make_root(self) -> None:
            self._root.rmdir()
            self._root = root

        def _clean_up(self) -> None:
            if self.cgroup is not None:
                demo.remove_cgroup(self.cgroup)

    def run(name: str, *command: str) -> int:
        with Shared(name, command or ("usleep", "30000")) as container:
            return int(container.wait())

    yield run
    demo.shutil.rmtree(root)


def test_two_hundred_short_lives_ten_at_a_time(short_lived: Any, tmp_path: Path) -> None:
    wanted = [f"{OURS}-web-{number}" for number in range(150)]
    others = [f"{OURS}-other-{number}" for number in range(50)]
    mixed = [name for number in range(50) for name in (*wanted[3 * number : 3 * number + 3], others[number])]
    with Recorder(tmp_path / "trace", "--container", f"{OURS}-web-*", *RECORDED) as recorder:
        with ThreadPoolExecutor(10) as pool:
            assert set(pool.map(short_lived, mixed)) == {0}
        recorded = recorder.stop()
    check_newborns(recorded, wanted, PROGRAM)


def test_any_new_container_and_no_other(short_lived: Any, demo_container: Any, tmp_path: Path) -> None:
    new = [f"{OURS}-new-1", f"{OURS}-new-2"]
    old = demo_container(f"{OURS}-old", "sh", "-c", "while :; do usleep 1000; done")
    with Recorder(tmp_path / "trace", "--new-containers", *RECORDED) as recorder:
        for name in new:
            short_lived(name)
        space = Path(f"/proc/{old.init_pid}/ns/pid").stat().st_ino
        recorded = recorder.stop()
    check_newborns(recorded, new, PROGRAM, alone=False)
    host = Path("/proc/self/ns/pid").stat().st_ino
    calls = {event.context["pid_ns"] for event in recorded.events if event.name.startswith("syscall_")}
    assert calls.isdisjoint({space, host})


def test_excluded_ones_are_taken_out_and_the_host_remains(short_lived: Any, tmp_path: Path) -> None:
    events = ("-e", "syscall_entry_execve", "--no-state-dump", "--context", "pid_ns,pid")
    with Recorder(tmp_path / "trace", "--container", f"!{OURS}-secret-*", *events) as recorder:
        for name in (f"{OURS}-secret-1", f"{OURS}-open-1"):
            short_lived(name)
        subprocess.run(["/bin/true"], check=True)
        recorded = recorder.stop()
    check_valid(recorded)
    files = [event["filename"] for event in recorded.events]
    assert files.count(PROGRAM) == 1
    assert "/bin/true" in files


def test_host_only(short_lived: Any, demo_container: Any, tmp_path: Path) -> None:
    events = ("-e", "syscall_entry_execve", "-e", "syscall_entry_nanosleep", "--no-state-dump")
    old = demo_container(f"{OURS}-old", "sh", "-c", "while :; do usleep 1000; done")
    inside = Path(f"/proc/{old.init_pid}/ns/pid").stat().st_ino
    with Recorder(tmp_path / "trace", "--host-only", *events, "--context", "pid_ns") as recorder:
        short_lived(f"{OURS}-new")
        subprocess.run(["/bin/true"], check=True)
        recorded = recorder.stop()
    host = Path("/proc/self/ns/pid").stat().st_ino
    namespaces = {event.context["pid_ns"] for event in recorded.events}
    assert host in namespaces and inside not in namespaces
    files = [event["filename"] for event in recorded.named("syscall_entry_execve")]
    assert "/bin/true" in files and PROGRAM not in files


def test_what_is_taken_out_is_counted(short_lived: Any, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--container", f"{OURS}-web-*", *RECORDED) as recorder:
        for name in (f"{OURS}-web-1", f"{OURS}-other-1", f"{OURS}-web-2"):
            short_lived(name)
        recorded = recorder.stop()
    check_valid(recorded)
    assert recorded.summary_events == len(recorded.all_events)
    assert "that turned out not to be wanted were taken out" in recorded.stderr
    assert not list(recorded.path.rglob("*.partial"))
    text = b"".join(path.read_bytes() for path in recorded.path.rglob("channel0_*"))
    assert b"pivot_root" not in text, "of what was taken out nothing is left in the files"


def explained(recorded: Recorded) -> dict[int, list[str]]:
    """The names that the trace tells of each number that occurs in the context ``container``; all are explained."""
    told: dict[int, list[str]] = {0: []}
    for event in recorded.named("container_number"):
        told.setdefault(event["container"], []).append(event["name"])
    assert {event.context["container"] for event in recorded.events} <= told.keys()
    return told


@pytest.mark.parametrize("selection", [("--container", f"{OURS}-web-*"), ("--new-containers",)], ids=["name", "new"])
def test_numbers_of_newborns_are_explained(
    short_lived: Any, demo_container: Any, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    """The same number in each channel. Who is not selected has none."""
    old = demo_container(f"{OURS}-old", "sh", "-c", "while :; do usleep 50000; done")
    events = ("-e", "syscall_*nanosleep", "-e", "sched_wak*", "--context", "pid_ns,container,tid")
    second = ("-e", "sched_process_exit", "--context", "pid_ns,container,tid", "--channel", "exits")
    with Recorder(tmp_path / "trace", *selection, *events, *second, "--no-state-dump") as recorder:
        running = [
            demo_container(f"{OURS}-web-{number}", "sh", "-c", "while :; do usleep 50000; done") for number in (0, 1)
        ]
        ask_recording("track", recorder.process.pid, kind="new-containers", values=[])  # so nobody need tell a name
        spaces = [Path(f"/proc/{each.init_pid}/ns/pid").stat().st_ino for each in running]
        until(lambda: all(_numbered(tmp_path / "trace", space) for space in spaces))
        before = Path(f"/proc/{old.init_pid}/ns/pid").stat().st_ino
        recorded = recorder.stop()
    check_valid(recorded)
    told = explained(recorded)
    for number, space in enumerate(spaces):
        (theirs,) = {event.context["container"] for event in recorded.events if event.context["pid_ns"] == space} - {0}
        assert f"{OURS}-web-{number}" in told[theirs]
    assert not any(event.context["container"] for event in recorded.events if event.context["pid_ns"] == before)


def _numbered(trace: Path, space: int) -> bool:
    """Tell whether calls of a pid namespace are in both channels, with a number."""
    try:
        found = {
            event.name
            for event in open_trace(trace).events()
            if event.context.get("pid_ns") == space and event.context.get("container")
        }
    except BoxtraceError:
        return False  # it is being written
    return any(name.endswith("nanosleep") for name in found) and any(name == "sched_process_exit" for name in found)


def test_times_after_what_is_taken_out(short_lived: Any, tmp_path: Path) -> None:
    """A full time stamp is written after so long a pause (2**32 ns) only; here into a record that is taken out."""
    every = os.sched_getaffinity(0)
    with Recorder(tmp_path / "trace", "--container", f"{OURS}-web-*", *RECORDED, "--flush", "1m") as recorder:
        os.sched_setaffinity(0, {min(every)})  # all in one stream
        try:
            short_lived(f"{OURS}-web-1")
            time.sleep(2**32 / 1e9 + 0.1)
            resumed = time.time_ns()
            short_lived(f"{OURS}-other")
            short_lived(f"{OURS}-web-2")
        finally:
            os.sched_setaffinity(0, every)
        recorded = recorder.stop()
    check_newborns(recorded, [f"{OURS}-web-1", f"{OURS}-web-2"], PROGRAM)
    second = TraceContainers(recorded.trace).selector(f"{OURS}-web-2")
    assert min(event.timestamp for event in recorded.events if second(event)) >= resumed - 10**9


@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "taken out"])
def test_what_happens_to_a_newborn_in_another_container_is_counted_once(
    short_lived: Any, demo_container: Any, tmp_path: Path, wanted: bool
) -> None:
    """One that runs already is interrupted by the timers of newborns, on the CPU of both: these records are of both."""
    beside = ("taskset", f"{1 << min(os.sched_getaffinity(0)):x}", "sh", "-c")
    old = demo_container(f"{OURS}-old", *beside, "while :; do :; done")
    chosen = f"{OURS}-web-*" if wanted else f"{OURS}-none-*"
    events = ("-e", "sched_*", "--no-state-dump", "--context", "tid,pid_ns")
    with Recorder(tmp_path / "trace", "--container", chosen, *events) as recorder:
        for number in range(4):
            short_lived(f"{OURS}-web-{number}", *beside, "for i in 1 2 3 4 5; do usleep 10000; done")
        recorded = recorder.stop()
    check_valid(recorded)
    space = Path(f"/proc/{old.init_pid}/ns/pid").stat().st_ino
    inside = sum(event.context["pid_ns"] == space for event in recorded.events)
    assert inside if wanted else not recorded.events
    counts = {name: int(number.replace(",", "")) for name, number in _COUNT.findall(recorded.stderr)}
    assert counts.get(f"{OURS}-old", 0) == inside
    assert all(count >= 0 for count in counts.values()), recorded.stderr
    assert sum(counts.values()) == recorded.kernel_events


@pytest.mark.parametrize("selection", [("--container", f"{OURS}-web-*"), ("--new-containers",)], ids=["name", "new"])
def test_a_snapshot_has_newborns_from_their_first_instruction(
    short_lived: Any, demo_container: Any, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    """Those that are wanted, while they are in memory, in every snapshot; its state dump has one that still runs."""
    wanted = [f"{OURS}-web-{number}" for number in range(4)]
    recorder = Recorder(tmp_path / "flight", "--flight-recorder", *selection, *RECORDED[:-1], wait=False)
    with recorder:
        recorder.wait_for("recording in memory")
        for name in wanted:
            short_lived(name)
        if "--container" in selection:
            short_lived(f"{OURS}-other")
        running = demo_container(f"{OURS}-web-running", "usleep", "100000000")
        until(lambda: Path(f"/proc/{running.init_pid}/comm").read_text() == "usleep\n")
        snapshots = []
        for _ in range(2):
            answer = ask_recording("snapshot", recorder.process.pid)
            snapshots.append(Path(answer["path"]))
        done = recorder.stop()
    assert done.status == 0, done.stderr
    assert "are in no snapshot" in done.stderr or "--container" not in selection
    for path in snapshots:
        snapshot = Recorded(path, 0, "")
        check_lives(snapshot, wanted, PROGRAM, alone=False)
        assert babeltrace_counter(path) == len(snapshot.all_events)
        dumped = {event["tid"] for event in snapshot.named("lttng_statedump_process_state")}
        assert running.init_pid in dumped, done.stderr
        if "--container" in selection:  # else those of others are there, too
            assert {event["filename"] for event in snapshot.named("syscall_entry_execve")} == {PROGRAM}
            assert not any(b"pivot_root" in file.read_bytes() for file in path.rglob("channel0_*"))


def test_found_while_recording(short_lived: Any, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--container", f"{OURS}-web-*", *RECORDED) as recorder:
        short_lived(f"{OURS}-web-1")
        ask_recording("track", recorder.process.pid, kind="container", values=[f"{OURS}-late-*"])
        ask_recording("untrack", recorder.process.pid, kind="container", values=[f"{OURS}-web-*"])
        time.sleep(0.1)
        short_lived(f"{OURS}-late-1")
        short_lived(f"{OURS}-web-2")
        recorded = recorder.stop()
    check_newborns(recorded, [f"{OURS}-late-1"], PROGRAM)


def test_another_question_does_not_forget_who_was_born(demo_container: Any, tmp_path: Path) -> None:
    """What is asked besides ``--new-containers`` changes: the containers that were new are still there."""
    events = ("-e", "syscall_entry_execve", "--no-state-dump", "--context", "pid_ns,pid")
    script = "trap 'exec /bin/usleep 7' USR1; while :; do usleep 1000; done"
    with Recorder(tmp_path / "trace", "--new-containers", *events) as recorder:
        born = demo_container(f"{OURS}-born", "sh", "-c", script)
        until(lambda: usr1_is_caught(born.init_pid))
        user = Path(f"/proc/{born.init_pid}").stat().st_uid
        ask_recording("track", recorder.process.pid, kind="uid", values=[str(user)])
        os.kill(born.init_pid, signal.SIGUSR1)
        assert born.wait() == 0
        recorded = recorder.stop()
    own = [event for event in recorded.named("syscall_entry_execve") if event.context["pid"] == born.init_pid]
    assert [event["args"] for event in own][-1] == ["/bin/usleep", "7"]


def usr1_is_caught(pid: int) -> bool:
    caught = re.search(r"^SigCgt:\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGUSR1 - 1)
