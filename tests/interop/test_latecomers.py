"""Containers that start while the whole host is recorded: their accounts, and the numbers that stand for them."""

import re
from collections.abc import Callable
from pathlib import Path

from boxtrace.errors import BoxtraceError
from boxtrace.trace import open_trace
from support.recorder import Recorder, check_valid, until
from support.runtimes import Started

ARGUMENTS = ("-e", "syscall_*nanosleep", "--context", "pid,pid_ns,container", "--flush", "200ms")


def numbers(trace: Path) -> dict[str, int]:
    """By the names that the trace explains so far."""
    try:
        events = open_trace(trace).events(where=lambda event: event.name == "container_number")
        return {event["name"]: event["container"] for event in events}
    except BoxtraceError:
        return {}  # its streams are not all there yet


def test_containers_that_start_later_are_counted_apart(start_container: Callable[..., Started], tmp_path: Path) -> None:
    napping = ("/bin/sh", "-c", "while :; do usleep 1000; done")
    before = start_container("crun", "boxtrace-before", *napping)
    with Recorder(tmp_path / "trace", *ARGUMENTS) as recorder:
        later = [start_container("crun", f"boxtrace-later-{number}", *napping) for number in range(2)]
        names = ["boxtrace-before", "boxtrace-later-0", "boxtrace-later-1"]
        known = until(lambda: found if {*names} <= (found := numbers(tmp_path / "trace")).keys() else None)
        spaces = [Path(f"/proc/{each.init_pid}/ns/pid").stat().st_ino for each in (before, *later)]
        until(lambda: _seen(tmp_path / "trace", known["boxtrace-later-1"]))
        recorded = recorder.stop()
    check_valid(recorded)
    assert len({known[name] for name in names}) == 3
    events = [event.context for event in recorded.events if event.name.startswith("syscall_")]
    for name, space in zip(names, spaces, strict=True):
        inside = [event["container"] for event in events if event["pid_ns"] == space]
        at_first = {0} if name != "boxtrace-before" else set()
        assert {*inside} <= {known[name]} | at_first and inside[-1] == known[name]
    for name in names:
        count = re.search(rf"^  {name} +([\d,]+) events$", recorded.stderr, re.MULTILINE)
        assert count is not None, recorded.stderr
        told = sum(event["container"] == known[name] for event in events)
        assert int(count[1].replace(",", "")) >= told > 0
    assert "(everything else)" in recorded.stderr


def _seen(trace: Path, number: int) -> bool:
    return any(
        event.context["container"] == number for event in open_trace(trace).events() if "container" in event.context
    )
