"""The kernel uses numbers again, as fast as it can be made to: nothing is taken for what had a number before."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from test_births import cgroup_directories

from benchmarks.crun import CrunBundles
from boxtrace.trace.containers import TraceContainers
from boxtrace.trace.owners import EventOwners
from support.recorder import Recorder, check_packets, check_valid
from support.require import require_program

CONTAINERS = 100


@pytest.mark.parametrize("events", [("sched_process_*", "namespace_*", "cgroup_*"), ("sched_switch",)], ids="-".join)
def test_short_containers_of_crun_all_have_their_names(tmp_path: Path, events: tuple[str, ...]) -> None:
    """Each ends with a status of its own: that of a name must be that of the process in the namespace of the name.

    Whether anybody asks for what tells of births or not.
    """
    require_program("crun", "crun")
    bundles = CrunBundles(tmp_path / "bundles")
    codes = {f"short-{number}-{os.getpid()}": number % 200 for number in range(CONTAINERS)}
    bundles.prepare(codes)
    with Recorder(tmp_path / "trace", *(f"--event={event}" for event in events)) as recorder:
        assert bundles.run(codes) == codes
        recorded = recorder.stop()
    check_valid(recorded)
    assert recorded.summary_lost == 0
    ended = {event["pid"]: event for event in recorded.all_events if event.name == "namespace_exit"}
    rows = {row.container.name: row for row in TraceContainers(recorded.trace).rows() if row.container.name in codes}
    assert len(rows) == CONTAINERS, recorded.stderr
    for name, code in codes.items():
        row = rows[name]
        assert row.container.runtime == "crun" and row.container.init_pid is not None
        end = ended[row.container.init_pid]
        assert (end["pid_ns"], end["exit_code"]) == (row.container.pid_ns, code)
        assert row.begin is not None and row.end is not None and end.timestamp is not None
        assert row.begin < row.end < end.timestamp + 10**9 and row.container.exit_code == code
        assert row.container.cgroup is not None and row.container.cgroup.path.endswith(f"/{name}")
    numbers = [row.container.pid_ns for row in rows.values()]
    assert len(set(numbers)) < CONTAINERS  # the kernel did use some again
    owners = EventOwners(recorded.trace)
    whose = defaultdict(set)
    for event in recorded.all_events:
        owner = owners.container(event)
        if owner is not None:
            whose[owner.name].add(event.context["pid"])
    assert {name: whose[name] for name in codes} == {name: {rows[name].container.init_pid} for name in codes}


@pytest.mark.parametrize(
    ("options", "births"),
    [
        (("--no-state-dump",), set()),
        (("--no-births",), set()),
        (("--no-state-dump", "--births"), {"namespace_change", "namespace_exec", "namespace_exit"}),
        (("--event=namespace_e*", "--no-state-dump", "--births"), {"namespace_change"}),
    ],
    ids=" ".join,
)
def test_births_go_to_a_channel_of_their_own(tmp_path: Path, options: tuple[str, ...], births: set[str]) -> None:
    asked = {"sched_switch", "namespace_exec", "namespace_exit"} if "--event" in options[0] else {"sched_switch"}
    with Recorder(tmp_path / "trace", "-e", "sched_switch", *options) as recorder:
        subprocess.run(("unshare", "--pid", "--fork", "true"), check=True)
        recorded = recorder.stop()
    check_valid(recorded)
    names = defaultdict(set)
    for event in recorded.all_events:
        names[event.stream.path.name.rpartition("_")[0]].add(event.name)
    dumped = {name for name in names["channel0"] if "statedump" in name}
    assert names["channel0"] == asked | dumped and bool(dumped) == ("--no-state-dump" not in options)
    assert {name for name in names["births"] if name.startswith("namespace_")} == births
    assert not births & asked


def test_names_do_not_depend_on_what_is_lost(tmp_path: Path) -> None:
    """Nearly everything is lost of what is recorded by default; births are not."""
    require_program("crun", "crun")
    bundles = CrunBundles(tmp_path / "bundles")
    codes = {f"lossy-{number}-{os.getpid()}": number for number in range(30)}
    bundles.prepare(codes)
    with (
        subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL) as busy,
        Recorder(tmp_path / "trace", "--subbuf-size", "16k", "--num-subbuf", "2") as recorder,
    ):
        try:
            assert bundles.run(codes) == codes
            recorded = recorder.stop()
        finally:
            busy.kill()
    check_packets(recorded)
    assert recorded.summary_lost > 10_000
    rows = {row.container.name: row for row in TraceContainers(recorded.trace).rows()}
    assert {name: rows[name].container.exit_code for name in codes} == codes
    assert all(rows[name].begin and rows[name].end for name in codes)


def test_each_birth_is_recorded_once(tmp_path: Path) -> None:
    """What the exit of a system call tells is with the others, what a fork tells is where nothing is lost."""
    with Recorder(tmp_path / "trace") as recorder:
        subprocess.run(("unshare", "--uts", "unshare", "--pid", "--fork", "true"), check=True)
        recorded = recorder.stop()
    check_valid(recorded)
    told = [event for event in recorded.all_events if event.name.startswith("namespace_")]
    where = {id(event): event.stream.path.name.rpartition("_")[0] for event in told}
    (first,) = [event for event in told if event.name == "namespace_exec" and event["filename"].endswith("/unshare")]
    (last,) = [event for event in told if event.name == "namespace_exec" and event["filename"].endswith("/true")]
    outer = [event for event in told if event["pid"] == first["pid"]]
    inner = [event for event in told if event["pid"] == last["pid"]]
    assert [(event.name, event.payload["cause"], where[id(event)]) for event in outer] == [
        ("namespace_change", 2, "channel0"),
        ("namespace_exec", 2, "channel0"),
        ("namespace_change", 2, "channel0"),
    ]
    assert [(event.name, event.payload.get("cause"), where[id(event)]) for event in inner] == [
        ("namespace_change", 1, "births"),
        ("namespace_exec", 1, "births"),
        ("namespace_exit", None, "births"),
    ]


def test_pids_that_are_used_again_in_a_container(tmp_path: Path) -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 14):
        pytest.skip("kernel.pid_max is the whole machine's before Linux 6.14")
    turns = 900
    script = (
        "mount -t proc proc /proc && echo 301 >/proc/sys/kernel/pid_max && "
        f"for i in $(seq {turns // 2}); do /bin/true; /bin/sleep 0; done; exit 0"
    )
    limit = Path("/proc/sys/kernel/pid_max").read_text()
    events = ("-e", "sched_process_*", "-e", "namespace_*")
    with Recorder(tmp_path / "trace", *events) as recorder:
        outer = ["unshare", "--pid", "--mount", "--fork", "sh", "-c", script]
        subprocess.run(outer, check=True)
        recorded = recorder.stop()
    assert Path("/proc/sys/kernel/pid_max").read_text() == limit
    check_valid(recorded)
    assert recorded.summary_lost == 0
    containers = TraceContainers(recorded.trace)
    space = max(containers.state.pid_namespaces, key=lambda item: len(item.processes) if item.ancestors else 0)
    children = [process for process in space.processes if process.name in ("true", "sleep")]
    assert [process.name for process in children] == ["true", "sleep"] * (turns // 2)
    lives = defaultdict(list)
    for process in children:
        lives[process.vpids[-1]].append(process)
    assert len(lives) < 310 < turns
    for same in lives.values():
        assert all(first.end and second.begin and first.end <= second.begin for first, second in pairwise(same))


def test_ids_of_cgroups_are_not_used_again(tmp_path: Path) -> None:
    made: dict[str, list[int]] = defaultdict(list)
    for name, directory in cgroup_directories().items():
        path = directory / f"boxtrace-again-{os.getpid()}"
        for _ in range(100):
            path.mkdir()
            made[name].append(path.stat().st_ino)
            path.rmdir()
    assert made
    assert all(len(set(numbers)) == 100 for numbers in made.values())
