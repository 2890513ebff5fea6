"""Limits and counts per container and event rule: every event is recorded, or counted under the reason why not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boxtrace.session.control import ask_recording
from support.recorder import BOXTRACE, Recorded, Recorder, check_valid

REASONS = ("filtered", "sampled", "limited", "discarded")
CALLER = """
import os, sys
print(os.readlink("/proc/self"), flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        os.getppid()
    print("done", flush=True)
"""
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child")
GETPPID = ("-e", "syscall_entry_getppid")
NO_DUMP = "--no-state-dump"


class Caller:
    """A process that calls getppid as often as it is told to; in a pid namespace of its own, or not."""

    def __init__(self, *before: str) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = int(self._read())
        self.pid_ns = Path(f"/proc/{self.pid}/ns/pid").stat().st_ino

    def _read(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        return line

    def call(self, times: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        assert self._read() == "done\n"

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def info(recorded: Recorded) -> dict[str, Any]:
    shown = subprocess.run([*BOXTRACE, "info", "--json", str(recorded.path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def left_out(recorded: Recorded, reason: str, rule: str, *, pid_ns: int = 0) -> int:
    """How many events of a rule a trace says were left out: of a container known by its pid namespace, or all."""
    return sum(
        count[reason]
        for count in info(recorded)["left_out"]
        if count["rule"] == rule and (not pid_ns or str(pid_ns) in count["container_id"])
    )


def test_a_noisy_container_does_not_use_up_the_rate_of_others(tmp_path: Path) -> None:
    with (
        Caller(*CONTAINER) as early,
        Recorder(tmp_path / "trace", *GETPPID, "--limit", "1/h:100", NO_DUMP) as recorder,
        Caller(*CONTAINER) as late,
        Caller(*CONTAINER) as quiet,
        Caller() as outside,
    ):
        callers = {early: 3000, late: 2000, quiet: 40, outside: 700}
        for caller, times in callers.items():
            caller.call(times)
            caller.call(1)
        recorded = recorder.stop()
    check_valid(recorded)
    by_pid = {caller.pid: sum(event["pid"] == caller.pid for event in recorded.events) for caller in callers}
    assert [by_pid[caller.pid] for caller in (early, late, quiet)] == [100, 100, 41]
    # What is in no container has one rate together, whoever else calls.
    assert by_pid[outside.pid] <= 100
    for caller, times in list(callers.items())[:3]:
        limited = left_out(recorded, "limited", "syscall_entry_getppid", pid_ns=caller.pid_ns)
        assert by_pid[caller.pid] + limited == times + 1
    assert left_out(recorded, "limited", "syscall_entry_getppid") >= 2901 + 1901 + 601
    assert "left out, by container and event rule:" in recorded.stderr
    assert f"{2901:,} over the limit" in recorded.stderr


def test_a_sample_is_of_each_container(tmp_path: Path) -> None:
    with (
        Caller(*CONTAINER) as first,
        Caller(*CONTAINER) as second,
        Recorder(tmp_path / "trace", *GETPPID, "--sample", "1/4", NO_DUMP) as recorder,
    ):
        first.call(4000)
        second.call(400)
        recorded = recorder.stop()
    for caller, times in ((first, 4000), (second, 400)):
        kept = sum(event["pid"] == caller.pid for event in recorded.events)
        assert 0 < kept < times / 2
        assert kept + left_out(recorded, "sampled", "syscall_entry_getppid", pid_ns=caller.pid_ns) == times


def test_what_filters_reject_is_counted_by_rule(tmp_path: Path) -> None:
    calls = "import os\nfor n in range(300): os.lseek(0, n % 10, 0); os.access('/nowhere/%d' % (n % 3), 0)"
    rules = ("-e", "syscall_entry_lseek", "--filter", "offset == 7", "-e", "syscall_entry_access", "--filter")
    with open("/dev/zero", "rb") as zero:
        command = [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), NO_DUMP, *rules, 'filename == "/nowhere/1"']
        done = subprocess.run(
            [*command, "--", sys.executable, "-Sc", calls], stdin=zero, capture_output=True, text=True, check=True
        )
    recorded = Recorded(tmp_path / "trace", done.returncode, done.stderr)
    check_valid(recorded)
    assert len(recorded.named("syscall_entry_lseek")) == 30
    assert left_out(recorded, "filtered", "syscall_entry_lseek") >= 270
    known = [event for event in recorded.named("syscall_entry_access") if event["filename"]]
    assert {event["filename"] for event in known} == {"/nowhere/1"}
    assert left_out(recorded, "filtered", "syscall_entry_access") >= 200 - (100 - len(known))
    assert all(count["limited"] == count["sampled"] == 0 for count in info(recorded)["left_out"])


@pytest.mark.parametrize(
    ("expression", "wanted", "kept"),
    [
        ("$ctx.vtid >= 1 && $ctx.pid_ns == {first}", "first", 2000),
        ("$ctx.pid_ns == {second}", "second", 600),
        ("$ctx.pid_ns == {second} && ret >= 0", "second", 300),
        ("ret < 0 && $ctx.pid_ns == {second}", "second", 0),
        ("ret >= 0 || $ctx.pid_ns == 1", "", 0),
        ("ret < 0", "", 0),
    ],
)
def test_every_call_is_recorded_or_counted_as_filtered(tmp_path: Path, expression: str, wanted: str, kept: int) -> None:
    """By contexts alone, by both, by the result alone: in the straight code of system calls and outside of it."""
    with Caller(*CONTAINER) as first, Caller(*CONTAINER) as second:
        callers = {"first": (first, 1000), "second": (second, 300)}
        spaces = {name: caller.pid_ns for name, (caller, _) in callers.items()}
        rule = ("-e", "syscall_*_getppid", "--filter", expression.format(**spaces))
        with Recorder(tmp_path / "trace", *rule, NO_DUMP) as recorder:
            for caller, times in callers.values():
                for part in (1, times - 2, 1):
                    caller.call(part)
            recorded = recorder.stop()
    check_valid(recorded)
    for name, (caller, times) in callers.items():
        found = sum(event["pid"] == caller.pid for event in recorded.events)
        rejected = left_out(recorded, "filtered", "syscall_*_getppid", pid_ns=caller.pid_ns)
        assert found + rejected == 2 * times
        if wanted:
            assert found == (kept if name == wanted else 0)
        elif "||" in expression:
            assert found == times
        else:
            assert found == 0


def test_a_filter_comes_before_a_limit(tmp_path: Path) -> None:
    calls = "import os\nfor n in range(1000): os.lseek(0, n % 10, 0)"
    limits = ("--filter", "offset == 7", "--limit", "1/h:10")
    with open("/dev/zero", "rb") as zero:
        command = [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), NO_DUMP, "-e", "syscall_entry_lseek", *limits]
        done = subprocess.run(
            [*command, "--", sys.executable, "-Sc", calls], stdin=zero, capture_output=True, text=True, check=True
        )
    recorded = Recorded(tmp_path / "trace", done.returncode, done.stderr)
    assert len(recorded.events) == 10
    assert left_out(recorded, "limited", "syscall_entry_lseek") == 90
    assert left_out(recorded, "filtered", "syscall_entry_lseek") >= 900


def test_events_of_every_kind_are_limited_and_lost_ones_counted_by_rule(tmp_path: Path) -> None:
    """System calls with and without memory, scheduler events, tracepoints; nobody empties the buffers for a while."""
    busy = "import os\ninput()\nfor n in range(10000):\n os.getppid(); os.access('/nowhere', 0); os.sched_yield()"
    rules = ("-e", "syscall_entry_*", "-e", "syscall_exit_*", "-e", "sched_*", "--limit", "1/h:20")
    more = ("-e", "timer:*", "--sample", "1/2", "--flush", "10m", "--subbuf-size", "16k", "--num-subbuf", "2", NO_DUMP)
    with (
        subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE) as process,
        Recorder(tmp_path / "trace", *rules, *more, "--pid", process.pid) as recorder,
    ):
        recorder.process.send_signal(signal.SIGSTOP)
        process.communicate(b"\n")
        recorder.process.send_signal(signal.SIGCONT)
        recorded = recorder.wait()
    check_valid(recorded)
    assert recorded.summary_lost > 0
    counted = info(recorded)["left_out"]
    missed = sum(count["discarded"] for count in counted)
    assert missed == recorded._number(r"^LOST: ([\d,]+) events, the buffers"), (recorded.stderr, counted)
    assert {"syscall_entry_*", "syscall_exit_*"} <= {count["rule"] for count in counted if count["discarded"]}
    scheduled = [event for event in recorded.events if event.name.startswith("sched_")]
    assert len(scheduled) <= 20 and left_out(recorded, "limited", "sched_*") > 0


def test_limits_change_while_recording(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*BOXTRACE, "limit", "-r", str(recorder.process.pid), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    rules = (*GETPPID, "--limit", "1/h:1", "-e", "sched_process_fork")
    with Caller(*CONTAINER) as caller, Recorder(tmp_path / "trace", *rules, NO_DUMP) as recorder:
        assert run().stdout == "channel0 syscall_entry_getppid 1/h:1\n"
        caller.call(10)
        assert run("syscall_entry_getppid", "none").stdout == "channel0 syscall_entry_getppid none\n"
        caller.call(10)
        assert run("syscall_entry_getppid", "1/999999999").stdout.endswith(" 1/999999999\n")
        caller.call(10)
        assert run("syscall_entry_getppid", "2/s:5", "1/3").stdout.endswith(" 2/s:5 1/3\n")
        assert run("sched_process_fork", "1/s").returncode == 1
        assert run("syscall_entry_getppid", "often").returncode == 1
        assert run("syscall_entry_getppid").returncode == 2
        assert ask_recording("limits", recorder.process.pid)["limits"][0][2:] == ["2/s:5", "1/3"]
        recorded = recorder.stop()
    assert sum(event["pid"] == caller.pid for event in recorded.events) == 1 + 10
    assert left_out(recorded, "limited", "syscall_entry_getppid", pid_ns=caller.pid_ns) == 9
    assert left_out(recorded, "sampled", "syscall_entry_getppid", pid_ns=caller.pid_ns) == 10


def test_channels_have_limits_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "record.toml"
    config.write_text(
        '[[channel]]\nname = "few"\nevent = ["syscall_entry_getppid"]\nlimit = { "syscall_*" = "1/h:7" }\n'
        '[[channel]]\nname = "all"\nevent = ["syscall_entry_getppid"]\n'
    )
    with Caller(*CONTAINER) as caller, Recorder(tmp_path / "trace", "--config", config, NO_DUMP) as recorder:
        caller.call(50)
        recorded = recorder.stop()
    mine = [event.stream.path.name.partition("_")[0] for event in recorded.events if event["pid"] == caller.pid]
    assert (mine.count("few"), mine.count("all")) == (7, 50)
    counted = [count for count in info(recorded)["left_out"] if str(caller.pid_ns) in count["container_id"]]
    assert [(count["channel"], count["rule"], count["limited"]) for count in counted] == [("few", "syscall_*", 43)]


def test_a_snapshot_tells_what_was_left_out_until_then(tmp_path: Path) -> None:
    rules = (*GETPPID, "--limit", "1/h:5", "--flight-recorder", NO_DUMP)
    with Caller(*CONTAINER) as caller, Recorder(tmp_path / "flight", *rules, wait=False) as recorder:
        recorder.wait_for("recording in memory")
        for times in (20, 30):
            caller.call(times)
            path = ask_recording("snapshot", recorder.process.pid)["path"]
        recorder.stop()
    assert left_out(Recorded(Path(path), 0, ""), "limited", "syscall_entry_getppid", pid_ns=caller.pid_ns) == 45


def test_nothing_is_told_where_nothing_was_left_out(tmp_path: Path) -> None:
    with Caller(*CONTAINER) as caller, Recorder(tmp_path / "trace", *GETPPID, "--pid", caller.pid, NO_DUMP) as recorder:
        caller.call(50)
        recorded = recorder.stop()
    assert len(recorded.events) == 50
    assert not info(recorded)["left_out"] and "left out" not in recorded.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--limit", "fast"), "is no rate"),
        (("--limit", "0/s"), "is no rate"),
        (("--limit", "10/s:0"), "a burst is of"),
        (("--sample", "2/3"), "is no sample"),
        (("-e", "sched_*", "--limit", "1/s", "-e", "sched_switch", "--limit", "2/s"), "sched_switch has two limits"),
        (("-e", "sched_*", "--limit", "1/s", "--limit", "2/s"), "two limits of one kind"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    command = [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), *options, "--", "true"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert finished.returncode in (1, 2)
    assert words in finished.stderr and "Traceback" not in finished.stderr
