"""Contexts of events are what /proc says of the task at that moment, whatever the task did to itself before."""

import itertools
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxtrace.kernel.contexts import DEFAULT_CONTEXTS
from support.recorder import Recorded, Recorder, check_valid, record_command
from support.workloads import Workload

MARK = 0x7000
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def what_proc_says(task: Path) -> dict[str, Any]:
    """The contexts of a task by procfs."""
    status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
    return {
        "procname": status["Name"],
        "pid": int(status["Tgid"]),
        "tid": int(status["Pid"]),
        "vpid": int(status["NStgid"].split()[-1]),
        "vtid": int(status["NSpid"].split()[-1]),
        "ppid": int(status["PPid"]),
        **{f"{kind}_ns": (task / "ns" / kind).stat().st_ino for kind in NAMESPACES},
    }


Walk = tuple[Recorded, dict[int, dict[str, Any]]]


def walk(program: Path, output: Path, *arguments: str) -> Walk:
    """Record the steps of ``steps``, and what procfs says of each."""
    steps: dict[int, dict[str, Any]] = {}
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        first = process.stdout.readline()  # step 1 is before the recording, and only to compare with
        with Recorder(output, "--pid", process.pid, "--follow", *arguments) as recorder:
            for line in itertools.chain((first,), process.stdout):
                number, _, task = line.decode().strip().partition(" ")
                assert number.isdigit(), line
                steps[int(number)] = what_proc_says(Path("/proc") / task)
                process.stdin.write(b"\n")
            assert process.wait() == 0
            return recorder.stop(), steps


@pytest.fixture(scope="module", params=["all events", "one system call"])
def walked(request: pytest.FixtureRequest, workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    events = () if request.param == "all events" else ("-e", "syscall_*_close", "--no-state-dump")
    return walk(workload("steps"), tmp_path_factory.mktemp("walk") / "trace", *events)


def marks(recorded: Recorded) -> Iterator[tuple[int, dict[str, Any]]]:
    """The steps in the trace: their numbers, and the contexts of entry and exit."""
    open_calls: dict[int, int] = {}
    for event in recorded.named("syscall_entry_close", "syscall_exit_close"):
        tid = event.context["tid"]
        if event.name == "syscall_entry_close" and event["fd"] >= MARK:
            open_calls[tid] = event["fd"] - MARK
        elif event.name == "syscall_exit_close" and tid in open_calls:
            yield open_calls.pop(tid), dict(event.context)
            continue
        else:
            continue
        yield open_calls[tid], dict(event.context)


def test_contexts_are_those_of_proc(walked: Walk) -> None:
    recorded, steps = walked
    check_valid(recorded)
    seen = list(marks(recorded))
    assert sorted(number for number, _ in seen) == sorted([*steps, *steps])[2:]
    wrong = {
        (number, name): (value, steps[number][name])
        for number, values in seen
        for name, value in values.items()
        if value != steps[number][name]
    }
    assert wrong == {}
    assert len(steps) == 32


def test_steps_differ_in_what_they_change(walked: Walk) -> None:
    """The oracle itself: each step did change what it says."""
    _, steps = walked
    kinds = ("uts", "ipc", "net", "cgroup", "mnt")
    for index, kind in enumerate(kinds):
        assert steps[10 + index][f"{kind}_ns"] != steps[1][f"{kind}_ns"] == steps[20 + index][f"{kind}_ns"]
    assert steps[33]["vpid"] == 1 and steps[33]["pid_ns"] != steps[31]["pid_ns"] != steps[1]["pid_ns"]
    assert (steps[41]["vpid"], steps[41]["vtid"]) == (1, 2)
    assert steps[43]["uts_ns"] != steps[44]["uts_ns"] and steps[42]["procname"] == "thread-name"
    assert steps[51]["user_ns"] != steps[50]["user_ns"] != steps[1]["user_ns"]
    assert steps[61]["ppid"] == steps[60]["pid"]  # its parent died; the subreaper took it
    assert steps[71]["tid"] == steps[70]["pid"] != steps[70]["tid"]  # the thread became the process


@pytest.mark.parametrize(
    "chosen", ["none", "procname", "pid_ns,vtid", "ppid,uts_ns,procname,tid", ",".join(reversed(DEFAULT_CONTEXTS))]
)
def test_chosen_contexts_only(tmp_path: Path, chosen: str) -> None:
    recorded = record_command(tmp_path / "trace", "--context", chosen, command=["/bin/true"])
    names = [] if chosen == "none" else chosen.split(",")
    assert recorded.status == 0
    check_valid(recorded)
    (own,) = [event for event in recorded.named("sched_process_exec") if event["filename"].endswith("/true")]
    tid = own["tid"]
    (ended,) = [event for event in recorded.named("sched_process_exit") if event["tid"] == tid]
    last = [event for event in recorded.named("sched_switch") if event["prev_tid"] == tid][-1]
    for event in (own, ended, last):
        assert list(event.context) == names
        assert event.context.get("tid", tid) == tid
        assert event.context.get("procname", "true") == "true"
        pid_ns = event.context.get("pid_ns", inode("pid"))
        assert pid_ns == inode("pid")
    assert own.context.get("uts_ns", inode("uts")) == inode("uts")
    assert last.context.get("uts_ns", 0) == 0  # an exiting task has left its namespaces


def inode(kind: str) -> int:
    return Path(f"/proc/self/ns/{kind}").stat().st_ino


def test_namespaces_are_those_of_now_when_the_task_changes_cpu(workload: Workload, tmp_path: Path) -> None:
    with Recorder(
        tmp_path / "trace",
        *("-e", "syscall_entry_close", "--no-state-dump", "--", workload("hop"), "300"),
        stdout=subprocess.PIPE,
    ) as recorder:
        assert recorder.process.stdout is not None
        truth = [int(line.split(b"[")[1].rstrip(b"]\n")) for line in recorder.process.stdout]
        recorded = recorder.wait()
    seen = {event["fd"] - MARK: event.context["uts_ns"] for event in recorded.events if event["fd"] >= MARK}
    assert [seen[number] for number in range(300)] == truth


def test_unknown_context_is_an_error(tmp_path: Path) -> None:
    recorded = record_command(tmp_path / "trace", "--context", "pid,colour", command=["/bin/true"])
    assert recorded.status == 2
    assert "there is no context 'colour'" in recorded.stderr and "mnt_ns" in recorded.stderr
    assert not recorded.path.exists()


@pytest.mark.parametrize("contexts", [("--context", "default,uid"), ()], ids=["with uid", "plain"])
def test_changes_show_in_the_next_call_without_a_switch(
    contexts: tuple[str, ...], workload: Workload, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = ["sh", "-c", f"exec {workload('restless')} >{told}"]
    recorded = record_command(
        tmp_path / "trace", "--no-state-dump", "-e", "syscall_*_close", *contexts, command=command
    )
    steps: dict[int, dict[str, int]] = {}
    for line in told.read_text().splitlines():
        step, kind, number = line.split()
        steps.setdefault(int(step), {})[kind] = int(number)
    assert len({step["uts_ns"] for step in steps.values()}) == 2 and len({step["uid"] for step in steps.values()}) == 5
    seen: Counter[int] = Counter()
    for event in recorded.named("syscall_entry_close"):
        if event["fd"] < MARK:
            continue
        wanted = steps[event["fd"] - MARK]
        assert {kind: event.context[kind] for kind in wanted if kind != "uid" or contexts} == {
            kind: number for kind, number in wanted.items() if kind != "uid" or contexts
        }
        seen[event["fd"] - MARK] += 1
    assert seen == dict.fromkeys(steps, 3)
