"""What a filter lets into a trace is what the reader's filter takes out of the same events recorded whole."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from boxtrace.filters import Filter
from boxtrace.trace import Event, open_trace

WORKLOAD = """
import os
for number in range(40):
    fd = os.open("/etc/passwd" if number % 2 else "/etc/hostname", os.O_RDONLY | (os.O_CLOEXEC if number % 3 else 0))
    os.read(fd, 10 + number)
    os.lseek(fd, number, os.SEEK_SET)
    os.close(fd)
    os.access("/nowhere/%d" % number, os.R_OK)
    os.getppid()
if os.fork() == 0:
    os.write(1, b"child")
    os._exit(3)
os.wait()
# Scheduler events of a task with another name, which waits, too.
os.spawnv(os.P_WAIT, "/bin/sleep", ["sleep", "0.02"])
"""


def record(output: Path, *options: str) -> str:
    """Record the workload with the given options; return what was printed to stderr."""
    command = [sys.executable, "-m", "boxtrace", "record", "-q", "-o", str(output), *options]
    finished = subprocess.run(
        [*command, "--", sys.executable, "-Sc", WORKLOAD], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stderr


def shown(event: Event) -> tuple[str, str]:
    return event.name, repr(sorted({**event.payload, **event.context}.items()))


@pytest.mark.parametrize(
    ("events", "expression"),
    [
        ("syscall_entry_*", "fd == 3"),
        ("syscall_entry_*", "count == 30 || count > 32 && fd != 0"),
        ("syscall_entry_lseek", "offset & 1 && whence == 0"),
        ("syscall_entry_openat", 'filename == "/etc/*" && dfd == -100'),
        ("syscall_entry_openat", 'filename == "/etc/hostname"'),
        ("syscall_entry_openat", "flags & 0x80000"),
        ("syscall_exit_*", "ret < 0"),
        ("syscall_exit_*", '$ctx.procname == "py*" && $ctx.tid == $ctx.pid && ret > 2 && $ctx.ppid > 1'),
        ("sched_*", '$ctx.procname == "*ython*" || $ctx.vtid == 0'),
        ("sched_switch", 'prev_state == 1 && next_tid >= 0 || next_comm == "sl*"'),
        ("sched_wak*", 'comm == "sleep" || tid & 1'),
        ("sched_process_exit", 'comm == "sleep" && prio == 20'),
        ("kmem_mm_page_alloc", "pfn & 1 && $ctx.tid > 0"),
        ("task_*", 'newcomm == "sleep"'),
    ],
)
def test_the_trace_holds_the_events_that_match(tmp_path: Path, events: str, expression: str) -> None:
    record(
        tmp_path / "trace",
        *("--no-state-dump", "-e", events, "--channel", "all"),
        *("-e", events, "--filter", expression, "--channel", "some"),
    )
    trace = open_trace(tmp_path / "trace")
    wanted = Filter(expression)
    everything: list[Event] = []
    filtered: list[Event] = []
    for event in trace.events():
        (everything if event.stream.path.name.startswith("all") else filtered).append(event)
    matching = [event for event in everything if wanted.matches(event.record)]
    # Text that was not in memory when the call was entered passes: it is not known.
    unknown = [event for event in filtered if "" in event.payload.values() and not wanted.matches(event.record)]
    filtered = [event for event in filtered if event not in unknown]
    assert len(unknown) < 5
    assert 0 < len(matching) < len(everything)
    assert Counter(map(shown, filtered)) == Counter(map(shown, matching))


def test_events_with_no_filter_and_the_state_dump_are_not_filtered(tmp_path: Path) -> None:
    record(tmp_path / "trace", "-e", "syscall_entry_getppid", "-e", "syscall_entry_lseek", "--filter", "offset == 7")
    names = Counter(event.name for event in open_trace(tmp_path / "trace").events())
    assert names["syscall_entry_getppid"] == 40
    assert names["syscall_entry_lseek"] == 1
    assert names["lttng_statedump_process_state"] > 0


def test_what_the_kernel_does_not_test_is_recorded_and_told(tmp_path: Path) -> None:
    expression = 'filename == "*passwd" && dfd == -100'
    told = record(tmp_path / "trace", "--no-state-dump", "-e", "syscall_entry_openat", "--filter", expression)
    assert 'filter of syscall_entry_openat: filename == "*passwd" is not tested while recording' in told
    events = list(open_trace(tmp_path / "trace").events())
    assert sum(Filter(expression).matches(event.record) for event in events) == 20
    assert len(events) >= 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e", "syscall_entry_read", "--filter", "nope == 1"), ["has no field 'nope'", "  nope == 1", "  ^"]),
        (("-e", "syscall_entry_openat", "--filter", "filename & 1"), ["works on whole numbers"]),
        (("-e", "syscall_entry_read", "--filter", "fd == "), ["not the end of the expression"]),
        (("--context", "pid", "--filter", "$ctx.tid == 1"), ["which is not recorded", "--context tid"]),
        (("-e", "syscall_entry_r*", "--filter", "fd", "-e", "*_read", "--filter", "fd"), ["has two filters"]),
        (("-e", "*_read", "--filter", " || ".join(f"fd == {n}" for n in range(2000))), ["instructions, more than"]),
    ],
)
def test_a_filter_that_cannot_be_is_refused_before_anything_is_recorded(
    tmp_path: Path, options: tuple[str, ...], words: list[str]
) -> None:
    command = [sys.executable, "-m", "boxtrace", "record", "-o", str(tmp_path / "trace"), *options, "--", "true"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode in (1, 2)
    assert "Traceback" not in finished.stderr
    for word in words:
        assert word in finished.stderr
