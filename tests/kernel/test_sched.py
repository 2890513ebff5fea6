"""Scheduler events say what the workload knows of itself."""

import itertools
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from boxtrace.kernel.capabilities import exit_has_group_dead
from boxtrace.trace import Event
from support.recorder import Recorded, Recorder, check_valid, record_command
from support.workloads import Workload

TURNS = 200
NORMAL = 20  # as LTTng: the kernel's priority less 100; nice 0
Ran = tuple[Recorded, dict[str, int]]


@pytest.fixture(scope="module")
def ran(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    path = tmp_path_factory.mktemp("sched") / "trace"
    arguments = ("-e", "sched_*", "--no-state-dump", "--", workload("sched"), TURNS)
    with Recorder(path, *arguments, stdout=subprocess.PIPE, wait=False) as recorder:
        assert recorder.process.stdout is not None
        output = recorder.process.stdout.read().decode()
        recorded = recorder.wait()
    assert recorded.status == 0 and recorded.summary_lost == 0
    check_valid(recorded)
    who = dict(line.split() for line in output.splitlines())
    return recorded, {name: int(number) for name, number in who.items()}


def of(recorded: Recorded, name: str, tid: int, field: str = "tid") -> list[Event]:
    return [event for event in recorded.named(name) if event.payload[field] == tid]


def test_every_event_names_a_selected_task(ran: Ran) -> None:
    recorded, who = ran
    assert set(who) == {"parent", "child", "thread"}
    for event in recorded.events:
        named = {value for field, value in event.payload.items() if field.endswith("tid")}
        assert (named | {event.context["tid"]}) & set(who.values()), event


def test_fork(ran: Ran) -> None:
    recorded, who = ran
    forks = {event["child_tid"]: event for event in recorded.named("sched_process_fork")}
    assert set(forks) == {who["child"], who["thread"]}
    own = Path("/proc/self/ns/pid").stat().st_ino
    for tid, pid in ((who["child"], who["child"]), (who["thread"], who["parent"])):
        fork = forks[tid]
        assert (fork["parent_comm"], fork["parent_tid"], fork["parent_pid"]) == ("sched", who["parent"], who["parent"])
        assert (fork["child_comm"], fork["child_pid"]) == ("sched", pid)
        assert list(fork["vtids"]) == [tid]
        assert fork["parent_ns_inum"] == fork["child_ns_inum"] == own
        (first,) = of(recorded, "sched_wakeup_new", tid)
        assert first.timestamp >= fork.timestamp


def test_exec_exit_and_free(ran: Ran) -> None:
    recorded, who = ran
    (executed,) = of(recorded, "sched_process_exec", who["child"])
    assert (executed["filename"], executed["old_tid"]) == ("/bin/true", who["child"])
    names = {"parent": ("sched", NORMAL), "child": ("true", NORMAL + 5), "thread": ("a-thread", NORMAL)}
    for role, (comm, prio) in names.items():
        (ended,) = of(recorded, "sched_process_exit", who[role])
        assert (ended["comm"], ended["prio"]) == (comm, prio)
        assert ended.context["tid"] == who[role]
        if exit_has_group_dead():
            assert ended["group_dead"] == (role != "thread")
        last = of(recorded, "sched_switch", who[role], "prev_tid")[-1]
        assert last["prev_state"] & 0x30  # a zombie, or dead
        freed = of(recorded, "sched_process_free", who[role])
        assert len(freed) <= 1  # what the kernel has not freed soon after the end is not in the trace
        for event in freed:
            assert event["comm"] == comm and event.timestamp > ended.timestamp
    assert of(recorded, "sched_process_free", who["child"])


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two CPUs")
def test_migration(ran: Ran) -> None:
    recorded, who = ran
    moved = of(recorded, "sched_migrate_task", who["child"])
    assert (moved[-1]["dest_cpu"], moved[-1]["prio"], moved[-1]["comm"]) == (1, NORMAL + 5, "the-child")
    for before, after in itertools.pairwise(moved):
        assert after["orig_cpu"] == before["dest_cpu"]
    for event in moved:
        assert event["orig_cpu"] != event["dest_cpu"]


def test_wakeups_and_switches(ran: Ran) -> None:
    recorded, who = ran
    child = who["child"]
    woken = [event for event in of(recorded, "sched_waking", child) if event.context["tid"] == who["parent"]]
    assert TURNS / 4 < len(woken) <= TURNS + 5  # a turn in which the other had not gone to sleep yet wakes nobody
    for event in (*woken, *of(recorded, "sched_wakeup", child))[20:]:
        assert event["comm"] in ("the-child", "true") and (event["prio"], event["target_cpu"]) == (NORMAL + 5, 1)
    asleep = [event for event in of(recorded, "sched_switch", child, "prev_tid") if event["prev_state"] == 1]
    assert len(woken) / 2 < len(asleep) <= len(woken) + 5
    for event in recorded.named("sched_switch"):
        assert (event["prev_tid"], event["prev_comm"]) == (event.context["tid"], event.context["procname"])
        if event["next_tid"] == child and event["next_comm"] == "the-child":
            assert event["next_prio"] in (NORMAL, NORMAL + 5)


def test_whole_host_runs_one_task_at_a_time(tmp_path: Path, workload: Workload) -> None:
    """On each CPU a switch leaves the task that the one before it chose, and every event between them is its."""
    with Recorder(tmp_path / "trace", "-e", "sched_*", "--no-state-dump", "-d", "500ms") as recorder:
        subprocess.run([workload("sched"), "300"], check=True, stdout=subprocess.DEVNULL)
        recorded = recorder.wait()
    check_valid(recorded)
    assert recorded.summary_lost == 0
    per_cpu: dict[int, list[Event]] = defaultdict(list)
    for event in recorded.events:
        per_cpu[event.packet_context["cpu_id"]].append(event)
    # A kernel may keep its tracepoints from some tasks (ftrace does not see them either): those are only switched to.
    traced = {event.context["tid"] for event in recorded.events}
    compared = 0
    for events in per_cpu.values():
        # Programs are attached, and detached, one after the other: what surrounds the switches is not whole.
        switches = [number for number, event in enumerate(events) if event.name == "sched_switch"]
        if not switches:
            continue
        compared += len(switches) - 1
        running = events[switches[0]]["next_tid"]
        for event in events[switches[0] + 1 : switches[-1] + 1]:
            assert event.context["tid"] == running or running not in traced
            if event.name == "sched_switch":
                assert event["prev_tid"] == event.context["tid"]
                running = event["next_tid"]
            else:
                running = event.context["tid"]
    assert compared > 100  # by the workload alone


def test_vtids_of_nested_namespaces(tmp_path: Path) -> None:
    nested = ("unshare", "-pf", "--kill-child")
    recorded = record_command(
        tmp_path / "trace",
        "-e",
        "sched_process_fork",
        "--no-state-dump",
        command=[*nested, *nested, "sh", "-c", "true & wait"],
    )
    check_valid(recorded)
    forks = recorded.named("sched_process_fork")
    assert [len(event["vtids"]) for event in forks] == [2, 3, 3]
    assert [list(event["vtids"])[1:] for event in forks] == [[1], [2, 1], [3, 2]]
    for event in forks:
        assert next(iter(event["vtids"])) == event["child_tid"]
    spaces = [(event["parent_ns_inum"], event["child_ns_inum"]) for event in forks]
    host = Path("/proc/self/ns/pid").stat().st_ino
    (host_, first), (first_, second), (second_, third) = spaces
    assert host_ == host and first == first_ and second == second_ == third
    assert len({host, first, second}) == 3
