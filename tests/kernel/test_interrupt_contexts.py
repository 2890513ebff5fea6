"""``interruptible``, ``preemptible`` and ``need_reschedule`` are what ftrace notes of the same events."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TypeVar

from boxtrace.kernel.interrupts import interrupts_code
from boxtrace.trace import Event
from support.ftrace import FtraceEvent, ftrace, parse_ftrace
from support.recorder import Recorder, record_command
from support.require import missing

EVENTS = {
    "signal:signal_generate": "signal_generate",
    "task:task_rename": "task_rename",
    "kmem:mm_page_alloc": "kmem_mm_page_alloc",
    "timer:hrtimer_start": "timer_hrtimer_start",
    "timer:hrtimer_cancel": "timer_hrtimer_cancel",
    "irq:softirq_raise": "irq_softirq_raise",
    "irq:softirq_entry": "irq_softirq_entry",
    "net:net_dev_queue": "net_dev_queue",
}
WORKLOAD = """
import os, signal, socket, time
input()
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("127.0.0.1", 0))
signal.signal(signal.SIGUSR1, lambda *_: None)
for number in range(300):
    os.kill(os.getpid(), signal.SIGUSR1)
    with open("/proc/self/comm", "w") as comm:
        comm.write(f"name-{number}")
    bytearray(1 << 18)
    one.sendto(b"text", one.getsockname())
    one.recv(10)
    time.sleep(0.0001)
"""
MODE = "interruptible,preemptible,need_reschedule"
Noted = tuple[str, int, int]
E = TypeVar("E", FtraceEvent, Event)


def noted(event: FtraceEvent) -> Noted:
    """What ftrace notes: interrupts are enabled; nothing forbids preemption."""
    enabled, preemptible = event.flags[0] not in "dD", event.flags[0] not in "bD" and event.flags[2:4] == ".."
    return EVENTS_BY_KERNEL[event.name], int(enabled), int(preemptible)


EVENTS_BY_KERNEL = {kernel.partition(":")[2]: name for kernel, name in EVENTS.items()}


def middle(events: list[E]) -> list[E]:
    """From the first signal to the last."""
    places = [number for number, event in enumerate(events) if event.name == "signal_generate"]
    return events[places[0] : places[-1] + 1]


def test_they_are_what_ftrace_notes(tmp_path: Path) -> None:
    if interrupts_code() is None:
        missing("this kernel does not tell BPF programs whether interrupts are enabled (before Linux 6.14)")
    rules = [word for event in EVENTS for word in ("-e", event)]
    with subprocess.Popen([sys.executable, "-c", WORKLOAD], stdin=subprocess.PIPE) as process:
        arguments = (*rules, "--no-state-dump", "--context", f"tid,{MODE}", "--pid", process.pid)
        with ftrace(*EVENTS, pid=process.pid) as text, Recorder(tmp_path / "trace", *arguments) as recorder:
            process.communicate(b"\n")
            recorded = recorder.wait()
            printed = parse_ftrace(text.read_text())
    assert recorded.status == 0, recorded.stderr
    # The tracers do not begin and end at one moment.
    mine, theirs = middle(recorded.events), middle(printed)
    ours = Counter((event.name, event.context["interruptible"], event.context["preemptible"]) for event in mine)
    expected = Counter(map(noted, theirs))
    # What the kernel skipped, as it came amid the recording of another, ftrace has alone.
    assert ours <= expected
    assert (expected - ours).total() <= recorded.summary_lost
    assert {(interrupts, preemption) for _, interrupts, preemption in ours} == {(1, 1), (1, 0), (0, 0)}
    wanted = sum(event.flags[1] in "NnBb" for event in theirs)
    found = sum(event.context["need_reschedule"] for event in mine)
    # It may be set between the two tracers' looks.
    assert abs(wanted - found) <= recorded.summary_lost + 0.05 * len(theirs)


def test_scheduler_events_come_with_interrupts_off_and_system_calls_with_them_on(tmp_path: Path) -> None:
    arguments = ("-e", "sched_switch", "-e", "sched_process_exec", "-e", "syscall_*_openat", "--no-state-dump")
    recorded = record_command(tmp_path / "trace", *arguments, "--context", f"tid,{MODE}", command=["sleep", "0.01"])
    assert recorded.status == 0, recorded.stderr
    known = interrupts_code() is not None
    seen = {
        name: {(event.context["interruptible"], event.context["preemptible"]) for event in recorded.named(name)}
        for name in ("sched_switch", "sched_process_exec", "syscall_entry_openat", "syscall_exit_openat")
    }
    assert seen == {
        "sched_switch": {(0 if known else -1, 0)},
        "sched_process_exec": {(1 if known else -1, 1)},
        "syscall_entry_openat": {(1, 1)},
        "syscall_exit_openat": {(1, 1)},
    }


def test_its_program_needs_no_more_capabilities(tmp_path: Path) -> None:
    keep = ("setpriv", "--bounding-set=-all,+sys_ptrace,+bpf,+perfmon,+dac_override")
    boxtrace = str(Path(sys.executable).with_name("boxtrace"))
    options = ("-o", str(tmp_path / "trace"), "-e", "sched_*", "--context", MODE, "-d", "200ms", "--no-state-dump")
    done = subprocess.run([*keep, boxtrace, "record", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
