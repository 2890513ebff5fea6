"""Recordings of containers of a real Docker daemon: every event is theirs, and says so."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boxtrace.containers.mounts import host_viewer
from support.dockerd import Dockerd
from support.recorder import Recorded, Recorder, check_valid, record_command, until

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def init_of(daemon: Dockerd, name: str) -> int:
    return int(daemon.docker("inspect", "-f", "{{.State.Pid}}", name))


def inode(pid: int, kind: str = "pid") -> int:
    return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino


def of_lsns(pid: int) -> int:
    """The pid namespace of a process as lsns tells it."""
    listed = subprocess.run(["lsns", "-J", "-t", "pid"], check=True, capture_output=True, text=True).stdout
    return next(int(entry["ns"]) for entry in json.loads(listed)["namespaces"] if entry["pid"] == pid)


def check_only(recorded: Recorded, spaces: set[int], *cgroups: str) -> None:
    """Every system call is of a task in these pid namespaces; every other event names such a task, or what it has."""
    check_valid(recorded)
    tids = {event.context["tid"] for event in recorded.events if event.context["pid_ns"] in spaces}
    tids |= {event["tid"] for event in recorded.events if event.name == "lttng_statedump_process_state"}
    tids |= {event["child_tid"] for event in recorded.named("sched_process_fork") if event["child_ns_inum"] in spaces}
    states = recorded.named("lttng_statedump_process_state")
    tables = {event["file_table_address"] for event in states}
    used = {
        kind: {event["ns_inum"] for event in recorded.named(f"lttng_statedump_process_{kind}_ns")}
        for kind in ("mnt", "net")
    }
    for event in recorded.events:
        if "syscall_" in event.name:
            assert event.context["pid_ns"] in spaces, event
        elif event.name == "lttng_statedump_file_descriptor":
            assert event["file_table_address"] in tables, event
        elif event.name == "statedump_mount":
            # The host's are there, too: by them paths are found on the host.
            assert event.payload["mnt_ns"] in used["mnt"] | {host_viewer()[1]}, event
        elif event.name in ("statedump_network_interface", "statedump_network_address"):
            assert event.payload["net_ns"] in used["net"], event
        elif event.name in ("cgroup_mkdir", "cgroup_rmdir"):
            assert any(name in event.payload["path"].split("/") for name in cgroups), event
        elif event.name not in ("lttng_statedump_start", "lttng_statedump_end"):
            named = {value for field, value in event.payload.items() if field.endswith(("pid", "tid"))}
            assert (named | {event.context["tid"]}) & tids, event


def test_redis_as_on_the_slide(dockerd: Dockerd, redis_image: str, tmp_path: Path) -> None:
    redis = ("redis-server", "--save", "", "--port", "0", "--unixsocket", "/tmp/redis.sock")
    identifier = dockerd.run("web", *redis, image=redis_image)
    dockerd.run("noise", "sh", "-c", "while true; do :; done; done")
    other = dockerd.run("chatter", "sh", "-c", "while sleep 0.01; do :; done")
    pid = init_of(dockerd, "web")
    before = {kind: inode(pid, kind) for kind in NAMESPACES}
    pid_ns = of_lsns(pid)
    assert other != identifier and inode(pid) == pid_ns
    with Recorder(tmp_path / "trace", "--container", "web") as recorder:
        server = f"/proc/{pid}/root/tmp/redis.sock"
        until(lambda: os.path.exists(server))  # noqa: PTH110 (a path through another's root)
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(server)
                client.sendall(b"PING\r\n")
                assert client.recv(100) == b"+PONG\r\n"
        time.sleep(0.3)
        recorded = recorder.stop()
    assert recorded.status == 0 and recorded.summary_lost == 0
    check_only(recorded, {pid_ns}, identifier)
    calls = [event for event in recorded.events if "syscall_" in event.name]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert len(calls) > 100
    for event in calls:
        assert event.context["pid_ns"] == pid_ns and event.context["vpid"] == 1
        assert {kind: event.context[f"{kind}_ns"] for kind in NAMESPACES} == before
        assert event.context["pid"] == pid and event.context["ppid"] == int(status["PPid"])
    main = [event for event in calls if event.context["vtid"] == 1]
    assert len(main) > 100
    assert {(event.context["procname"], event.context["tid"]) for event in main} == {("redis-server", pid)}
    written = [event for event in main if event.name == "syscall_exit_write" and event["ret"] == 7]
    assert len(written) >= 20  # +PONG\r\n


def test_several_containers_and_a_prefix(dockerd: Dockerd, tmp_path: Path) -> None:
    loop = ("sh", "-c", "while sleep 0.02; do :; done")
    first = dockerd.run("first", *loop)
    second = dockerd.run("second", *loop)
    dockerd.run("third", *loop)
    chosen = {inode(init_of(dockerd, name)) for name in ("first", "second")}
    with Recorder(tmp_path / "trace", "--container", first[:12], "--container", "second", "-d", "500ms") as recorder:
        recorded = recorder.wait()
    check_only(recorded, chosen, first, second)
    assert {event.context["pid_ns"] for event in recorded.named("syscall_entry_exit_group")} == chosen
    for name in ("first", "second"):
        assert f"  {name} " in recorded.stderr
    viewed = subprocess.run(
        [*recorder.process.args[:3], "view", "--container", "second", recorded.path],  # type: ignore[index]
        check=True,
        capture_output=True,
        text=True,
    )
    space = inode(init_of(dockerd, "second"))
    expected = sum(event.context["pid_ns"] == space for event in recorded.events)
    told = viewed.stdout.count(" container_")
    assert viewed.stdout.count("\n") - told == expected > 0


def test_nested_container_is_part_of_its_host_container(dockerd: Dockerd, tmp_path: Path) -> None:
    allowed = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
    script = "while sleep 0.05; do unshare -p -f sh -c 'sleep 0.01; true'; done"
    dockerd.run("outer", "sh", "-c", script, options=allowed)
    outer = inode(init_of(dockerd, "outer"))
    with Recorder(tmp_path / "trace", "--container", "outer", "-d", "700ms") as recorder:
        recorded = recorder.wait()
    check_valid(recorded)
    inner = {event["child_ns_inum"] for event in recorded.named("sched_process_fork")} - {outer}
    assert inner
    calls = {event.context["pid_ns"] for event in recorded.events if event.name.startswith("syscall_entry_")}
    assert calls == {outer, *inner} or calls == {outer, *inner} - {0}
    assert all(len(event["vtids"]) in (2, 3) for event in recorded.named("sched_process_fork"))


def test_container_in_the_hosts_pid_namespace_is_told_by_its_cgroup(dockerd: Dockerd, tmp_path: Path) -> None:
    loop = ("sh", "-c", "while sleep 0.02; do :; done")
    dockerd.run("shared", *loop, options=("--pid=host",))
    dockerd.run("beside", *loop, options=("--pid=host",))
    pid = init_of(dockerd, "shared")
    assert inode(pid) == inode(os.getpid())
    with Recorder(tmp_path / "trace", "--container", "shared", "-d", "500ms") as recorder:
        recorded = recorder.wait()
    check_valid(recorded)
    calls = [event for event in recorded.events if event.name.startswith("syscall_")]
    assert {event.context["uts_ns"] for event in calls} == {inode(pid, "uts")}
    assert {event.context["ppid"] for event in calls if event.context["procname"] == "sleep"} == {pid}


def test_death_of_the_container_ends_the_recording(dockerd: Dockerd, tmp_path: Path) -> None:
    mortal = dockerd.run("mortal", "sh", "-c", "while sleep 0.05; do :; done")
    pid_ns = inode(init_of(dockerd, "mortal"))
    with Recorder(tmp_path / "trace", "--container", "mortal") as recorder:
        dockerd.docker("kill", "mortal")
        recorded = recorder.wait()
    assert recorded.status == 0 and "container mortal ended" in recorded.stderr
    check_only(recorded, {pid_ns}, mortal)


def test_pid_namespace_by_number(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    demo = demo_container("boxtrace-by-number", "sh", "-c", "while sleep 0.02; do :; done")
    pid_ns = inode(demo.init_pid)
    with Recorder(tmp_path / "trace", "--pid-ns", pid_ns, "-d", "400ms") as recorder:
        recorded = recorder.wait()
    check_only(recorded, {pid_ns})
    assert len(recorded.named("syscall_entry_clock_nanosleep", "syscall_entry_nanosleep")) > 3


def test_without_selection_everything_is_there(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    demo = demo_container("boxtrace-host-too", "sh", "-c", "while sleep 0.02; do :; done")
    with Recorder(tmp_path / "trace", "-e", "syscall_*_exit_group", "-d", "400ms", "--no-state-dump") as recorder:
        subprocess.run(["true"], check=True)
        recorded = recorder.wait()
    spaces = {event.context["pid_ns"] for event in recorded.events}
    assert {inode(demo.init_pid), inode(os.getpid())} <= spaces


def test_command_with_its_descendants(tmp_path: Path) -> None:
    """Also what makes itself a daemon; nothing else."""
    daemon = "import os, time\nif os.fork() == 0:\n os.setsid()\n os.fork() or time.sleep(.2)\nos._exit(0)"
    script = f"(true & true); python3 -c '{daemon}'; sleep 0.4"
    recorded = record_command(tmp_path / "trace", "--no-state-dump", command=["sh", "-c", script])
    check_valid(recorded)
    family: set[int] = {recorded.named("sched_process_exec")[0]["tid"]}
    for event in recorded.named("sched_process_fork"):
        if event["parent_tid"] in family:
            family.add(event["child_tid"])
    assert len(family) >= 6
    assert {event.context["tid"] for event in recorded.events if "syscall_" in event.name} == family
    ended = {event["tid"] for event in recorded.named("sched_process_exit")}
    assert ended == family


def test_process_with_and_without_what_it_forks(tmp_path: Path) -> None:
    script = (
        "import os, threading, time\n"
        "while True:\n"
        " thread = threading.Thread(target=os.getppid); thread.start(); thread.join()\n"
        " pid = os.fork()\n"
        " if pid == 0: os.getppid(); os._exit(0)\n"
        " os.waitpid(pid, 0); time.sleep(.02)"
    )
    with subprocess.Popen(["python3", "-c", script]) as process:
        try:
            with Recorder(tmp_path / "one", "--pid", process.pid, "-d", "400ms") as recorder:
                alone = recorder.wait()
            with Recorder(tmp_path / "all", "--pid", process.pid, "--follow", "-d", "400ms") as recorder:
                followed = recorder.wait()
        finally:
            process.kill()
    for recorded in (alone, followed):
        check_valid(recorded)
    calls = [event for event in alone.events if "syscall_" in event.name]
    assert {event.context["pid"] for event in calls} == {process.pid}
    assert len({event.context["tid"] for event in calls}) > 3  # new threads, too
    processes = {event.context["pid"] for event in followed.events if "syscall_" in event.name}
    assert process.pid in processes and len(processes) > 3
