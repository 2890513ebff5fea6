"""Containers that share a pid namespace with another one or with the host: each has its own processes and events."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import boxtrace
from boxtrace.trace.containers import TraceContainers
from support.dockerd import Dockerd
from support.recorder import Recorder, check_valid
from support.runtimes import PODMAN_IMAGE, podman_calls, wait_for

EVENTS = ("-e", "sched_process_*", "-e", "namespace_*", "-e", "cgroup_*", "-e", "syscall_entry_openat")
READS = ("sh", "-c", "sleep 1000 & cat /etc/os-release; wait")


def top(dockerd: Dockerd, name: str) -> set[int]:
    """The processes of a container, as Docker tells them."""
    return {int(line.split()[0]) for line in dockerd.docker("top", name, "-eo", "pid").splitlines()[1:]}


def openers(trace: Path) -> dict[str, set[int]]:
    """Who opened the file that the containers read, by what each way of reading says whose they are."""
    name = "syscall_entry_openat"
    table = boxtrace.open(trace).table(name, columns=["pid", "filename", "container_name"]).to_polars()
    found: dict[str, set[int]] = {}
    for pid, filename, container in table.iter_rows():
        if filename == "/etc/os-release":
            found.setdefault(container, set()).add(pid)
    return found


def test_dockers_containers_that_share(dockerd: Dockerd, tmp_path: Path) -> None:
    inside = {"joined": "--pid=container:owner", "host": "--pid=host"}
    dockerd.run("owner", "sleep", "1000")
    for kind, option in inside.items():
        dockerd.run(f"early-{kind}", "sleep", "1000", options=(option,))
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        for kind, option in inside.items():
            dockerd.run(f"late-{kind}", *READS, options=(option,))
            dockerd.run(f"short-{kind}", "cat", "/etc/os-release", options=(option,))
            dockerd.docker("wait", f"short-{kind}")
            dockerd.docker("exec", f"early-{kind}", "cat", "/etc/os-release")
        dockerd.docker("exec", "owner", "cat", "/etc/os-release")
        for kind in inside:
            # The shell and its child.
            wait_for("both processes", lambda kind=kind: len(top(dockerd, f"late-{kind}")) == 2 or None)  # type: ignore[misc]
        truth = {
            name: top(dockerd, name)
            for name in ("owner", *(f"{when}-{kind}" for when in ("early", "late") for kind in inside))
        }
        inits = {name: int(dockerd.docker("inspect", "--format={{.State.Pid}}", name)) for name in truth}
        comms = {name: Path(f"/proc/{pid}/comm").read_text().strip() for name, pid in inits.items()}
        recorded = recorder.stop()
    check_valid(recorded)
    lives = TraceContainers(recorded.trace)
    rows = {row.container.name: row for row in lives.rows()}
    for name, pids in truth.items():
        living = {row.host_pid for row in lives.pids(name) if row.end is None}
        assert living == pids, name
        assert (rows[name].command, rows[name].begin is None) == (comms[name], not name.startswith("late")), name
    for kind in inside:
        row = rows[f"short-{kind}"]
        assert (row.command, row.processes, row.container.exit_code) == ("cat", 1, 0)
        assert row.begin is not None and row.end is not None and row.begin < row.end
    told = openers(recorded.trace.path)
    names = {"owner", *(f"{when}-{kind}" for when in ("early", "late", "short") for kind in inside)}
    assert names <= told.keys()
    for name in names:
        assert len(told[name]) == 1, name
        chosen = lives.selector(name)
        seen = {
            event.context["pid"]
            for event in recorded.named("syscall_entry_openat")
            if chosen(event) and event["filename"] == "/etc/os-release"
        }
        assert seen == told[name], name


def test_containers_of_a_pod(tmp_path: Path) -> None:
    """Podman's: its first container owns the namespaces, and the others are in them."""
    # A short path: Podman refuses long ones.
    with tempfile.TemporaryDirectory(prefix="bt-") as text, podman_calls(Path(text)) as call:
        limits = ("--network=none",)
        call(
            "pod",
            "create",
            "--name=pod",
            f"--infra-image={PODMAN_IMAGE}",
            "--infra-command=/bin/sleep 1000",
            "--share=pid,ipc,uts",
        )
        with Recorder(tmp_path / "trace", *EVENTS) as recorder:
            for name in ("one", "two"):
                call("run", "--detach", "--pod=pod", f"--name={name}", *limits, PODMAN_IMAGE, *READS)
            infra = json.loads(call("pod", "inspect", "pod"))["InfraContainerID"]
            truth = {}
            for name in ("one", "two"):
                told = json.loads(call("inspect", name))[0]
                truth[name] = int(told["State"]["Pid"])
            recorded = recorder.stop()
        call("pod", "rm", "--force", "--time=0", "pod")
    check_valid(recorded)
    lives = TraceContainers(recorded.trace)
    rows = {row.container.name: row for row in lives.rows() if row.container.runtime == "podman"}
    owner = next(row for row in rows.values() if row.container.id.startswith(infra))
    assert owner.processes == 1
    for name, pid in truth.items():
        assert rows[name].container.init_pid == pid
        assert rows[name].container.pid_ns == owner.container.pid_ns
        assert pid in {row.host_pid for row in lives.pids(name)}
        assert not {row.host_pid for row in lives.pids(name)} & {
            row.host_pid for row in lives.pids("one" if name == "two" else "two")
        }
    assert {"one", "two"} <= openers(recorded.trace.path).keys()
