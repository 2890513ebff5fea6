"""Each runtime in three cases: its container runs before the recording, starts during it, or dies at once.

Whatever it is, the trace names it, and agrees with the runtime's own tools, with lsns and with /proc. Docker and what
no runtime knows are at the end; containerd is in test_containerd.py. CRI-O is not run: Debian has no package of it, and
no other source of it is in reach; conmon and runc are run as it runs them (test_crio_layout.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from boxtrace.containers.model import Namespaces
from boxtrace.trace.containers import TraceContainers
from support.dockerd import Dockerd
from support.recorder import Recorded, Recorder, check_valid, until
from support.require import require_program
from support.rootfs import make_rootfs
from support.runtimes import RUNTIMES, Started, wait_for

Start = Callable[..., Started]
EVENTS = ("-e", "sched_process_*", "-e", "namespace_*", "-e", "cgroup_*")


def lsns(pid: int) -> dict[str, int]:
    """Namespaces of a process, as util-linux tells them."""
    found: dict[str, int] = {}

    def is_complete() -> bool:
        done = subprocess.run(["lsns", "--json", "-p", str(pid)], capture_output=True, text=True)
        rows = json.loads(done.stdout)["namespaces"] if done.stdout else []
        found.update({row["type"]: int(row["ns"]) for row in rows})
        return set(found) == set(Namespaces.names())

    until(is_complete)  # when any process of the machine ends while it looks, it tells of a part, or of nothing
    return found


def check_row(recorded: Recorded, truth: Started, namespaces: dict[str, int], pids: set[int], *, before: bool) -> None:
    containers = TraceContainers(recorded.trace)
    (row,) = [item for item in containers.rows() if item.container.name == truth.name]
    found = row.container
    assert (found.runtime, found.id, found.init_pid) == (truth.runtime, truth.id, truth.init_pid)
    assert truth.image is None or found.image == truth.image
    assert found.namespaces is not None
    assert {kind: getattr(found.namespaces, kind) for kind in namespaces} == namespaces
    assert (row.begin is None) == before
    assert pids <= {item.host_pid for item in containers.pids(f"{truth.runtime}:{truth.name}")}


def members(pid_ns: int) -> set[int]:
    """The processes in a pid namespace, as /proc tells them."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "ns/pid").stat().st_ino == pid_ns:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def observe(truth: Started) -> tuple[dict[str, int], set[int]]:
    numbers = lsns(truth.init_pid)
    return numbers, members(numbers["pid"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_container_that_runs_before_and_one_that_starts_during(
    start_container: Start, runtime: str, tmp_path: Path
) -> None:
    early = start_container(runtime, f"early-{runtime}", "/bin/sleep", "1000")
    early_told = observe(early)
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        if runtime.startswith("rootless_"):  # whose user there is once
            late = None
        else:
            late = start_container(
                runtime, f"late-{runtime}", "/bin/sh", "-c", "/bin/sleep 1000 & /bin/sleep 1000; exit"
            )
            wait_for("both processes", lambda: len(members(lsns(late.init_pid)["pid"])) > 2 or None)
            late_told = observe(late)
        recorded = recorder.stop()
    check_valid(recorded)
    check_row(recorded, early, *early_told, before=True)
    if late is not None:
        check_row(recorded, late, *late_told, before=False)


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "nspawn"])
def test_container_that_dies_at_once(start_container: Start, runtime: str, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        try:
            start_container(runtime, f"short-{runtime}", "/bin/true")
        except RuntimeError as error:
            # Its own tools look too late, too.
            assert "short-" in str(error) or "does not exist" in str(error), error
        recorded = recorder.stop()
    check_valid(recorded)
    rows = [row for row in TraceContainers(recorded.trace).rows() if row.container.name == f"short-{runtime}"]
    assert [row.container.runtime for row in rows] == [runtime.removeprefix("rootless_")]
    (row,) = rows
    if runtime.startswith("rootless_") and row.begin is None:
        return  # it has no cgroup of its own here: tied to its events only if somebody saw it (docs/containers.md)
    assert row.command == "true" and row.container.exit_code == 0
    assert row.begin is not None and row.end is not None and row.begin < row.end


def test_nspawn_container_that_dies_at_once(tmp_path: Path) -> None:
    """Its own tools wait for it to run, and cannot start such a one."""
    require_program("systemd-nspawn", "systemd-container")
    options = ("--register=no", "--keep-unit", "--quiet", "--machine=short-nspawn")
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        root = make_rootfs(tmp_path / "rootfs")
        subprocess.run(
            ["systemd-nspawn", *options, f"--directory={root}", "/bin/true"], stdin=subprocess.DEVNULL, check=True
        )
        recorded = recorder.stop()
    check_valid(recorded)
    (row,) = [row for row in TraceContainers(recorded.trace).rows() if row.container.name == "short-nspawn"]
    assert (row.container.runtime, row.command, row.container.exit_code) == ("systemd-nspawn", "true", 0)
    assert row.begin is not None and row.end is not None and row.begin < row.end


SHARED = {"pid": "--pid=host", "net": "--network=host", "ipc": "--ipc=host", "uts": "--uts=host"}


def test_containers_that_share_namespaces_with_the_host(dockerd: Dockerd, tmp_path: Path) -> None:
    """Each kind, in one that runs before and one that starts during; what is shared is what /proc says."""

    def start(when: str, kind: str) -> int:
        dockerd.run(f"{when}-{kind}", "sleep", "1000", options=(SHARED[kind],))
        return int(dockerd.docker("inspect", "--format={{.State.Pid}}", f"{when}-{kind}"))

    truth = {f"early-{kind}": start("early", kind) for kind in SHARED}
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        truth |= {f"late-{kind}": start("late", kind) for kind in SHARED}
        told = {name: observe_namespaces(pid) for name, pid in truth.items()}
        recorded = recorder.stop()
    check_valid(recorded)
    rows = {row.container.name: row.container for row in TraceContainers(recorded.trace).rows()}
    own = observe_namespaces(os.getpid())
    for name, pid in truth.items():
        kind = name.partition("-")[2]
        namespaces = rows[name].namespaces
        assert rows[name].init_pid == pid and namespaces is not None
        assert {each: getattr(namespaces, each) for each in told[name]} == told[name]
        assert told[name][kind] == own[kind]


def observe_namespaces(pid: int) -> dict[str, int]:
    return {kind: Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in Namespaces.names()}


def test_docker_container_at_all_three_times(dockerd: Dockerd, tmp_path: Path) -> None:
    def told(name: str) -> Started:
        answer = json.loads(dockerd.docker("inspect", name))[0]
        image = answer["Config"]["Image"]
        return Started("docker", answer["Id"], answer["Name"].removeprefix("/"), answer["State"]["Pid"], image)

    dockerd.run("early", "sleep", "1000")
    early, early_told = told("early"), observe(told("early"))
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        dockerd.run("late", "sh", "-c", "sleep 1000 & sleep 1000; exit")
        late, late_told = told("late"), observe(told("late"))
        short = dockerd.run("short", "sh", "-c", "exit 9")
        dockerd.docker("wait", "short")
        recorded = recorder.stop()
    check_valid(recorded)
    check_row(recorded, early, *early_told, before=True)
    check_row(recorded, late, *late_told, before=False)
    (row,) = [item for item in TraceContainers(recorded.trace).rows() if item.container.name == "short"]
    assert (row.container.id, row.container.exit_code, row.command) == (short, 9, "sh")
    told_events = [event for event in recorded.all_events if event.payload.get("id") == short]
    kinds = [event.name.removeprefix("container_") for event in told_events]
    assert [kind for kind in kinds if kind != "metadata"] == ["create", "start", "die"]


def test_container_that_no_runtime_knows(tmp_path: Path) -> None:
    require_program("bwrap", "bubblewrap")
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        for command in (["unshare", "--pid", "--fork"], ["bwrap", "--unshare-all", "--ro-bind", "/", "/"]):
            subprocess.run([*command, "sh", "-c", "exit 5"], check=False)
        recorded = recorder.stop()
    check_valid(recorded)
    ends = {event["pid_ns"] for event in recorded.named("namespace_exit") if event["exit_code"] == 5}
    rows = [row for row in TraceContainers(recorded.trace).rows() if row.container.pid_ns in ends]
    unknown = [row for row in rows if row.container.exit_code == 5]
    assert len(unknown) >= 2
    assert all(row.container.runtime == "unknown" and row.container.name.startswith("pidns-") for row in unknown)
