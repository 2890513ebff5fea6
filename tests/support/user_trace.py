"""Recordings of applications in containers by the command line, and what must be true of them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxtrace.trace import Event, open_trace
from support.require import require_program

CALLS = ("-e", "syscall_*_getpgid", "-e", "syscall_*_getppid")
SYSCALLS = (*CALLS, "--no-state-dump")


@contextmanager
def recording(output: Path, *arguments: str, user: str = "app:*") -> Iterator[int]:
    """Record while it is entered; gives the recording's process id.

    :param user: which events of applications; none if empty.
    """
    command = [sys.executable, "-m", "boxtrace", "record", "-o", str(output), *arguments]
    command += ["--user", user] if user else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "recording to" in line:
                break
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
        assert process.wait(30) == 0, said


def user_events(trace: Path) -> list[Event]:
    opened = open_trace(trace)
    found = [event for event in opened.events() if event.name.startswith("app:")]
    assert not opened.failures and not list(opened.losses())
    return found


def check_interleaving(trace: Path) -> None:
    """Each event lies between the system calls of its thread that the program makes before and after it."""
    require_program("babeltrace2", "babeltrace2")
    text = subprocess.run(["babeltrace2", str(trace)], check=True, capture_output=True, text=True).stdout
    order: dict[str, list[str]] = {}
    for line in text.splitlines():
        found = re.search(r"(syscall_(?:entry|exit)_getp[gp]id|app:inside): .*?\btid = (\d+)", line)
        if found:
            order.setdefault(found[2], []).append(found[1])
    around = ["syscall_entry_getpgid", "syscall_exit_getpgid", "app:inside"]
    around += ["syscall_entry_getppid", "syscall_exit_getppid"]
    threads = [names for names in order.values() if "app:inside" in names]
    assert len(threads) == 2
    assert all(names == around * 20 for names in threads)


def namespace(pid: int | str, kind: str) -> int:
    return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino


def check_identity(events: list[Event], init_pid: int, *, inside: bool = False, name: str = "user-program") -> None:
    """The container's namespaces, and the ids of the program: its first process, or another one inside."""
    namespaces = {
        f"{kind}_ns": namespace(init_pid, kind)
        for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    }
    assert len(events) == 40
    pid, vpid = events[0]["pid"], events[0]["vpid"]
    assert (pid == init_pid) == (vpid == 1) != inside
    for event in events:
        assert {name: event[name] for name in namespaces} == namespaces
        assert (event["pid"], event["vpid"], event["procname"]) == (pid, vpid, name)
        assert event["vuid"] == event["vgid"] == 0
    assert {(event["tid"] == pid, event["vtid"] == vpid) for event in events} == {(True, True), (False, False)}
    assert len({event["vtid"] for event in events}) == 2 == len({event["tid"] for event in events})


def check_joined(trace: Path, container: str, *, dumped: bool = True) -> None:
    """In tables, each event has its container's name, and on the host's tid it is between its thread's calls.

    :param dumped: there is a state dump, which tells the ids of threads that were there before the recording.
    """
    opened = open_trace(trace)

    def frame(name: str, *columns: str) -> Any:
        return opened.table(name, columns=["timestamp", "tid", "container_name", *columns]).to_polars()

    events = frame("app:inside", "vtid", "vtids", "round", "procname").sort("timestamp")
    assert set(events["container_name"]) == {container} and len(events) == 40
    assert set(events["procname"]) == {"user-program"}
    if dumped:
        assert [ids[0] for ids in events["vtids"]] == list(events["tid"])
        assert [ids[-1] for ids in events["vtids"]] == list(events["vtid"])
    for name, before in (("syscall_exit_getpgid", 1), ("syscall_entry_getppid", 0)):
        calls = frame(name)
        assert set(calls.filter(calls["tid"].is_in(events["tid"].implode()))["container_name"]) == {container}
        for row in events.iter_rows(named=True):
            own = calls.filter(calls["tid"] == row["tid"])
            assert len(own.filter(own["timestamp"] < row["timestamp"])) == row["round"] + before


def check_names(trace: Path, container: str, pid_ns: int) -> None:
    """``boxtrace view`` tells and selects by the container's name what events of it there are, of either domain."""
    view = [sys.executable, "-m", "boxtrace", "view", trace]
    said = subprocess.run([*view, "--json", "--names"], check=True, capture_output=True, text=True).stdout
    events = [json.loads(line) for line in said.splitlines()]
    assert sum(event["name"] == "app:inside" for event in events) == 40
    for event in events:
        own = {**event["packet"], **event["context"]}.get("pid_ns") == pid_ns
        assert event["container"] == (container if own else None), event
    chosen = subprocess.run([*view, "--container", container], check=True, capture_output=True, text=True).stdout
    told = sum(event["name"] == "container_metadata" and event["fields"]["name"] == container for event in events)
    assert told and chosen.count(" container_metadata: ") == told
    assert chosen.count("\n") == told + sum(event["container"] == container for event in events)
    assert chosen.count(" app:inside: ") == 40
