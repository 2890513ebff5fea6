"""However a recording ends, what it leaves is a complete, valid trace."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from boxtrace.trace import open_trace
from support.recorder import BOXTRACE, Recorder, babeltrace_counter, babeltrace_text, check_valid, record_command, until

BUSY = "import os, time\nwhile True:\n  for _ in range(200): os.getppid()\n  time.sleep(.005)"


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal(tmp_path: Path, number: signal.Signals) -> None:
    with process(sys.executable, "-c", BUSY) as busy, Recorder(tmp_path / "trace", "--pid", busy.pid) as recorder:
        time.sleep(0.2)
        recorded = recorder.stop(number)
    assert recorded.status == 0 and f"ended by {number.name}" in recorded.stderr
    assert recorded.summary_lost == 0
    check_valid(recorded)
    viewed = subprocess.run([*BOXTRACE, "view", str(recorded.path)], capture_output=True, check=True)
    assert viewed.stdout.count(b"\n") == recorded.summary_events and viewed.stderr == b""


def test_ctf2(tmp_path: Path) -> None:
    options = ("--format", "ctf2", "--pid")
    with process(sys.executable, "-c", BUSY) as busy, Recorder(tmp_path / "trace", *options, busy.pid) as recorder:
        time.sleep(0.2)
        recorded = recorder.stop()
    assert recorded.status == 0 and recorded.summary_lost == 0
    assert (recorded.path / "kernel" / "metadata").read_bytes().startswith(b"\x1e{")
    assert len(recorded.all_events) == recorded.summary_events
    again = tmp_path / "again"
    subprocess.run([*BOXTRACE, "convert", "--to", "ctf1", str(recorded.path), str(again)], check=True)
    assert [dict(event) for event in open_trace(again).events()] == [dict(event) for event in recorded.all_events]


def test_duration(tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--duration", "700ms", "-e", "sched_process_*") as recorder:
        recorded = recorder.wait()
    assert recorded.status == 0 and "ended after its duration" in recorded.stderr
    check_valid(recorded)
    assert len(recorded.named("lttng_statedump_start")) == len(recorded.named("lttng_statedump_end")) == 1


@pytest.mark.parametrize(
    ("command", "status"),
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -TERM $$"], 128 + 15)],
)
def test_command_passes_its_status_on(tmp_path: Path, command: list[str], status: int) -> None:
    recorded = record_command(tmp_path / "trace", command=command)
    assert recorded.status == status, recorded.stderr
    check_valid(recorded)


def test_command_that_the_kernel_does_not_run(tmp_path: Path) -> None:
    program = tmp_path / "garbage"
    program.write_bytes(b"\1\2\3")
    program.chmod(0o755)
    recorded = record_command(tmp_path / "trace", command=[program])
    assert recorded.status == 127 and f"cannot run {program}: Exec format error" in recorded.stderr
    check_valid(recorded)


def test_signal_ends_the_command_too(tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--", "sleep", "1000") as recorder:
        time.sleep(0.5)
        recorded = recorder.stop()
    check_valid(recorded)
    (sleeper,) = [event["tid"] for event in recorded.named("sched_process_exec")]
    until(lambda: not runs(sleeper))


def runs(pid: int) -> bool:
    """Whether this process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_last_watched_process(tmp_path: Path) -> None:
    with (
        process("sleep", "1000") as first,
        process("sleep", "1000") as second,
        Recorder(tmp_path / "trace", "--pid", first.pid, "--pid", second.pid) as recorder,
    ):
        first.kill()
        time.sleep(0.3)
        assert recorder.process.poll() is None
        second.kill()
        recorded = recorder.wait()
    assert recorded.status == 0
    check_valid(recorded)
    assert {event["tid"] for event in recorded.named("sched_process_exit")} == {first.pid, second.pid}


def test_end_of_the_container(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    demo = demo_container("boxtrace-ending", "sh", "-c", "while sleep 0.1; do :; done")
    with Recorder(tmp_path / "trace", "--container", "boxtrace-ending") as recorder:
        time.sleep(0.4)
        os.kill(demo.init_pid, signal.SIGKILL)
        recorded = recorder.wait()
    assert recorded.status == 0 and "container boxtrace-ending ended" in recorded.stderr
    check_valid(recorded)
    assert demo.init_pid in {event["tid"] for event in recorded.named("sched_process_exit")}
    assert demo.init_pid in {event["tid"] for event in recorded.named("sched_process_free")}


def test_killed_recorder_leaves_a_readable_trace(tmp_path: Path) -> None:
    """What was flushed is there and whole; kernel programs go with their process."""
    with (
        process(sys.executable, "-c", BUSY) as busy,
        Recorder(tmp_path / "trace", "--pid", busy.pid, "--flush", "50ms", "--subbuf-size", "64k") as recorder,
    ):
        until(lambda: sum(file.stat().st_size for file in (tmp_path / "trace/kernel").glob("channel0_*")) > 1 << 18)
        recorded = recorder.stop(signal.SIGKILL)
    assert recorded.status == -signal.SIGKILL
    check_valid(recorded)
    assert len(recorded.named("syscall_entry_getppid")) > 1000
    programs = subprocess.run(["sh", "-c", "cat /proc/*/fdinfo/* 2>/dev/null"], capture_output=True, text=True).stdout
    assert f"pid:\t{recorder.process.pid}\n" not in programs


def test_flush_timer_bounds_the_delay(tmp_path: Path) -> None:
    """A quiet process's events are in the file soon, though its sub-buffer never fills."""
    files = tmp_path / "trace/kernel"
    with (
        process("sh", "-c", "while sleep 0.5; do :; done") as quiet,
        Recorder(tmp_path / "trace", "--pid", quiet.pid, "--follow", "--flush", "100ms", "--no-state-dump") as recorder,
    ):
        until(lambda: b"/sleep\0" in b"".join(file.read_bytes() for file in files.glob("channel0_*")))
        begun = {event.name for event in open_trace(tmp_path / "trace").events()}
        recorded = recorder.stop()
    assert "sched_process_exec" in begun
    check_valid(recorded)


def test_nothing_recorded_is_a_valid_trace(tmp_path: Path) -> None:
    with (
        process("sleep", "1000") as quiet,
        Recorder(tmp_path / "trace", "--pid", quiet.pid, "--no-state-dump", "-d", "200ms") as recorder,
    ):
        recorded = recorder.wait()
    assert recorded.status == 0 and recorded.summary_events == 0
    assert babeltrace_text(recorded.path).total() == babeltrace_counter(recorded.path) == 0
    assert list(open_trace(recorded.path).events()) == []


def run_on_terminal(*arguments: str) -> str:
    """Run boxtrace with a terminal as its stderr, and return what it wrote there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [*BOXTRACE, *arguments])
    written = b""
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:  # EIO: its last process has ended
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, written
    return written.decode()


def test_status_line_on_a_terminal_only(tmp_path: Path) -> None:
    live = run_on_terminal("record", "-o", str(tmp_path / "live"), "-d", "1s", "-e", "sched_process_*")
    lines = [line for line in live.split("\r\x1b[K") if line.startswith("recording ")]
    assert len(lines) >= 3
    for word in (" events · ", "/s · ", " lost"):
        assert word in lines[-1]
    assert re.search(r"(^|\x1b\[K|\n)boxtrace: recording to ", live)  # on a line of its own
    with Recorder(tmp_path / "piped", "-d", "500ms", "-e", "sched_process_*") as recorder:
        piped = recorder.wait()
    assert "\x1b" not in piped.stderr and "\r" not in piped.stderr and "/s ·" not in piped.stderr
    with Recorder(tmp_path / "quiet", "--quiet", "-d", "300ms", "-e", "sched_process_*", wait=False) as recorder:
        assert recorder.wait().stderr == ""
