"""containerd with its API and without it: what ctr runs is found, named and followed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from test_runtime_matrix import check_row, observe

from boxtrace.containers import find, survey
from boxtrace.containers._grpc import GrpcChannel, GrpcError
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.table import ProcessTable
from boxtrace.trace.containers import TraceContainers
from boxtrace.trace.owners import EventOwners
from support.containerd import IMAGE, ContainerdDaemon
from support.recorder import Recorder, check_valid, until
from support.runtimes import Started

SLEEP = ("/bin/sleep", "1000")


def kinds(events: list, identifier: str) -> list[str]:
    told = [event.name.removeprefix("container_") for event in events if event.payload.get("id") == identifier]
    return [kind for kind in told if kind not in ("metadata", "statedump_start", "statedump_end")]


def test_api_tells_image_labels_and_state(containerd: ContainerdDaemon) -> None:
    pid = containerd.start("web", *SLEEP, options=("--label=tier=front",))
    containerd.ctr("container", "create", "--snapshotter=native", IMAGE, "idle", "/bin/true")
    containerd.start("over", "/bin/sh", "-c", "exit 7")
    until(lambda: "STOPPED" in next(line for line in containerd.ctr("task", "ls").splitlines() if "over" in line))
    containerd.start("held", *SLEEP)
    containerd.ctr("task", "pause", "held")
    found = {item.id: item for item in survey(stopped=True).containers if item.runtime == "containerd"}
    containerd.ctr("task", "resume", "held")
    web = found["web"]
    assert (web.name, web.init_pid, web.image, web.image_digest) == ("web", pid, IMAGE, containerd.digest)
    assert web.labels["tier"] == "front" and web.namespaces is not None
    states = {name: (found[name].state, found[name].exit_code) for name in ("web", "idle", "over", "held")}
    assert states == {
        "web": ("running", None),
        "idle": ("created", None),
        "over": ("exited", 7),
        "held": ("paused", None),
    }
    assert found["over"].ended is not None and found["over"].init_pid is None


def test_bundles_are_enough_without_the_api(containerd: ContainerdDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = containerd.start("web", *SLEEP)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h2.config", None)  # as if it were not installed
        (task,) = [item for item in Containerd().containers(ProcessTable()) if item.id == "web"]
    assert (task.name, task.init_pid, task.state, task.image) == ("web", pid, "running", None)
    hidden = containerd.socket.with_name("hidden.sock")
    containerd.socket.rename(hidden)
    try:
        assert find("containerd:web").init_pid == pid
    finally:
        hidden.rename(containerd.socket)


def test_bundles_are_enough_when_the_daemon_has_died() -> None:
    with tempfile.TemporaryDirectory(prefix="btc-", ignore_cleanup_errors=True) as text:
        daemon = ContainerdDaemon(Path(text))
        try:
            daemon.wait_until_ready()
            daemon.import_image()
            pid = daemon.start("left", *SLEEP)
            daemon.process.kill()
            daemon.process.wait()
            assert find("containerd:left").init_pid == pid
        finally:  # another one takes over what the first has left
            another = ContainerdDaemon(Path(text))
            another.wait_until_ready()
            another.stop()


def test_containers_at_all_three_times(containerd: ContainerdDaemon, tmp_path: Path) -> None:
    def truth(name: str) -> Started:
        return Started("containerd", name, name, containerd.pids()[name], IMAGE)

    containerd.start("early", *SLEEP)
    early, early_told = truth("early"), observe(truth("early"))
    with Recorder(tmp_path / "trace", "-e", "sched_switch") as recorder:
        containerd.start("late", *SLEEP)
        late, late_told = truth("late"), observe(truth("late"))
        containerd.ctr("run", "--snapshotter=native", "--rm", IMAGE, "short", "/bin/true")
        recorded = recorder.stop()
    check_valid(recorded)
    check_row(recorded, early, *early_told, before=True)
    check_row(recorded, late, *late_told, before=False)
    (row,) = [item for item in TraceContainers(recorded.trace).rows() if item.container.name == "short"]
    short = row.container
    assert (short.runtime, short.id, short.image, short.exit_code, row.command) == (
        "containerd",
        "short",
        IMAGE,
        0,
        "true",
    )
    assert row.begin is not None and row.end is not None and row.begin < row.end
    assert kinds(recorded.all_events, "short") == ["create", "start", "die", "remove"]
    owners = EventOwners(recorded.trace)
    assert {event.context["pid"] for event in recorded.events if (of := owners.container(event)) and of.name == "short"}


def test_what_ctr_does_to_a_container(containerd: ContainerdDaemon, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "-e", "cgroup_rename", "--no-births", "--no-state-dump") as recorder:
        containerd.start("box", *SLEEP)
        containerd.ctr("task", "exec", "--exec-id", "look", "box", "/bin/true")
        containerd.ctr("task", "pause", "box")
        containerd.ctr("task", "resume", "box")
        containerd.ctr("task", "kill", "--signal", "KILL", "box")
        until(lambda: "STOPPED" in containerd.ctr("task", "ls"))
        containerd.ctr("task", "rm", "box")
        containerd.ctr("container", "rm", "box")
        recorded = recorder.stop()
    check_valid(recorded)
    assert kinds(recorded.all_events, "box") == ["create", "start", "exec", "pause", "unpause", "die", "remove"]
    (death,) = [event for event in recorded.all_events if event.name == "container_die" and event["id"] == "box"]
    assert death["exit_code"] == 137 and death["time"] > 0


def test_service_that_refuses_and_none_at_all(containerd: ContainerdDaemon, tmp_path: Path) -> None:
    with GrpcChannel(str(containerd.socket), seconds=3) as channel:
        with pytest.raises(GrpcError, match="namespace is required"):
            channel.call("/containerd.services.containers.v1.Containers/List")
        assert channel.call("/containerd.services.version.v1.Version/Version").text(1)
    with pytest.raises(GrpcError):
        GrpcChannel(str(tmp_path / "nobody"), seconds=3)
