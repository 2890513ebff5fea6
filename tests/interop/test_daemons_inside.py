"""Docker, Podman and containerd that run in a container of Docker, and what they start there."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxtrace.containers.discovery import find, survey
from boxtrace.containers.events import METADATA
from boxtrace.containers.listing import list_containers, list_pids
from boxtrace.containers.members import members
from boxtrace.errors import BoxtraceError
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers
from support.containerd import ContainerdDaemon
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.recorder import Recorder, check_valid, until
from support.require import missing, require_program
from support.rootfs import make_rootfs
from support.runtimes import PODMAN_LIMITS, succeeds, wait_for

Call = Callable[..., str]

HOST_IMAGE = "boxtrace/host:test"
"""Nothing but the places of the host's programs."""
_CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_NICE", "IPC_LOCK", "LINUX_IMMUTABLE")
_WRITABLE = """
mount -o remount,rw,bind /proc/sys
mount -o remount,rw /sys/fs/cgroup
for place in /sys/fs/cgroup/*; do mount -o remount,rw,bind "$place"; done
exec sleep 100000
"""
_DOCKERD = """
exec dockerd --data-root=/data/docker --exec-root=/run/d --pidfile=/run/d.pid --host=unix:///run/d.sock \
    --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs >/data/log 2>&1
"""
_CONTAINERD = """
printf 'version = 2\\nroot = "/data/c"\\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\\n' >/data/containerd.toml
exec containerd --config /data/containerd.toml >/data/log 2>&1
"""
"""At its usual places: where the host has one, it is another one."""
_PODMAN = ("podman", "--root=/data/p", "--runroot=/run/p", "--tmpdir=/run/pt", "--storage-driver=vfs",
           "--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=file")  # fmt: skip


@pytest.fixture
def around(dockerd: Dockerd, tmp_path: Path) -> Iterator[Call]:
    """Run a command in the container ``outer``, which has the programs of the host and may do nearly all."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        missing("cgroups of version 2 alone: a daemon inside a container needs one without processes")
    image, data = tmp_path / "host", tmp_path / "data"
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "var/tmp", "data", "rootfs"):
        (image / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (image / name).symlink_to(f"usr/{name}")
    data.mkdir()
    make_rootfs(tmp_path / "rootfs")
    dockerd.import_image(HOST_IMAGE, image)
    volumes = ("/usr:/usr:ro", "/etc:/etc:ro", f"{data}:/data", f"{tmp_path / 'rootfs'}:/rootfs")
    options = (
        *(f"--cap-add={name}" for name in _CAPABILITIES),
        *(f"--security-opt={what}" for what in ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")),
        *(f"--volume={volume}" for volume in volumes),
        *("--tmpfs=/run:exec", "--tmpfs=/tmp:exec", "--cgroupns=private"),
    )
    dockerd.run("outer", "sh", "-c", _WRITABLE, image=HOST_IMAGE, options=options)
    yield lambda *command: dockerd.docker("exec", "outer", *command)


@pytest.fixture
def docker_inside(dockerd: Dockerd, around: Call, tmp_path: Path) -> Iterator[Call]:
    """Run a command of the client of a daemon in the container ``outer``."""
    dockerd.docker("exec", "--detach", "outer", "sh", "-c", _DOCKERD)

    def call(*arguments: str) -> str:
        return around("docker", "-H", "unix:///run/d.sock", *arguments)

    wait_for("the daemon inside", lambda: succeeds(call, "version"))
    archive = subprocess.run(["tar", "-C", tmp_path / "rootfs", "-c", "."], check=True, capture_output=True).stdout
    (tmp_path / "data/image.tar").write_bytes(archive)
    call("import", "/data/image.tar", BUSYBOX_IMAGE)
    yield call
    if names := call("ps", "--all", "--quiet").split():
        call("rm", "--force", *names)


def told(trace: Path, name: str) -> bool:
    """Tell whether the trace says yet what is known of a container."""
    try:
        return any(event.name == METADATA and event["name"] == name for event in open_trace(trace).events())
    except BoxtraceError:
        return False  # its streams are not all there yet


def check(runtime: str, start: Call, execute: Call, early: Callable[[], int], trace: Path) -> None:
    """Check what is told of the containers inside.

    :param start: starts a container inside in the background: name, command.
    :param execute: runs a command in such a container.
    :param early: the first process of the container ``early`` as its runtime tells it, inside.
    """
    start("early", "sleep", "1000")
    with Recorder(trace, "-e", "sched_process_*", "--flush", "200ms") as recorder:
        start("web", "sleep", "1000")
        start("brief", "sh", "-c", "until [ -e /tmp/over ]; do usleep 10000; done; usleep 300000; exit 3")
        until(lambda: told(trace, "brief") and told(trace, "web"))
        init = find("brief").init_pid
        execute("brief", "touch", "/tmp/over")
        wait_for("the end", lambda: not Path(f"/proc/{init}").exists())
        recorded = recorder.stop()
    check_valid(recorded)
    found = survey()
    outer, inner = find("outer"), find("early")
    assert (inner.runtime, inner.state) == (runtime, "running")
    assert [row.pid for row in list_pids(outer, found) if row.host_pid == inner.init_pid] == [early()]
    assert [row.parent for row in list_containers(found) if row.container == inner] == [outer]
    rows = TraceContainers(open_trace(trace)).rows()
    inside = [row.container for row in rows if row.parent is not None and row.parent.name == "outer"]
    assert sorted((item.name, item.runtime, item.state, item.exit_code) for item in inside) == [
        ("brief", runtime, "exited", 3),
        ("early", runtime, "running", None),
        ("web", runtime, "running", None),
    ]
    assert [row.container.name for row in rows].count("outer") == 1
    assert {item.pid_ns for item in inside if item.name == "early"} == {inner.pid_ns}


def test_docker_inside_docker(dockerd: Dockerd, docker_inside: Call, tmp_path: Path) -> None:
    dockerd.run("web", "sleep", "1000")

    def start(name: str, *command: str) -> str:
        return docker_inside("run", "--detach", "--network=none", f"--name={name}", BUSYBOX_IMAGE, *command)

    def execute(name: str, *command: str) -> str:
        return docker_inside("exec", name, *command)

    def early() -> int:
        return int(docker_inside("inspect", "--format={{.State.Pid}}", "early"))

    check("docker", start, execute, early, tmp_path / "trace")
    outer, image = find("outer"), find("early").image
    assert image == BUSYBOX_IMAGE
    assert find("web").pid_ns_ancestors == outer.pid_ns_ancestors  # the host's, not the one inside
    with Recorder(tmp_path / "shared", "-e", "sched_process_*", "--flush", "200ms") as recorder:
        docker_inside(
            "run", "-d", "--network=none", "--pid=container:early", "--name=beside", BUSYBOX_IMAGE, "sleep", "99"
        )
        until(lambda: told(tmp_path / "shared", "beside"))
        recorded = recorder.stop()
    check_valid(recorded)
    found = survey()
    early, beside = find("early"), find("beside")
    assert beside.pid_ns == early.pid_ns and beside.init_pid != early.init_pid
    assert [row.parent for row in list_containers(found) if row.container == beside] == [outer]
    assert [process.pid for process in members(beside, found.containers, found.snapshot)] == [beside.init_pid]
    assert [process.pid for process in members(early, found.containers, found.snapshot)] == [early.init_pid]
    rows = {row.container.name: row for row in TraceContainers(open_trace(tmp_path / "shared")).rows()}
    assert rows["beside"].container.init_pid == beside.init_pid
    assert [rows[name].parent for name in ("early", "beside")] == [rows["outer"].container] * 2
    assert rows["beside"].begin is not None and rows["beside"].command == "sleep"


def test_podman_inside_docker(around: Call, tmp_path: Path) -> None:
    require_program("podman", "podman")

    def start(name: str, *command: str) -> str:
        options = ("--detach", f"--name={name}", *PODMAN_LIMITS, "--rootfs", "/rootfs")
        return around(*_PODMAN, "run", *options, *command)

    def execute(name: str, *command: str) -> str:
        return around(*_PODMAN, "exec", name, *command)

    def early() -> int:
        return int(around(*_PODMAN, "inspect", "--format={{.State.Pid}}", "early"))

    check("podman", start, execute, early, tmp_path / "trace")
    around(*_PODMAN, "rm", "--all", "--force", "--time=0")


def test_containerd_inside_docker(containerd: ContainerdDaemon, dockerd: Dockerd, around: Call, tmp_path: Path) -> None:
    containerd.start("web", "/bin/sleep", "1000")  # of the same name, on the host
    dockerd.docker("exec", "--detach", "outer", "sh", "-c", _CONTAINERD)

    def ctr(*arguments: str) -> str:
        return around("ctr", "--namespace=k8s.io", *arguments)

    def start(name: str, *command: str) -> str:
        command_line = f"ctr -n k8s.io run -d --env=PATH=/bin --rootfs /rootfs {name} {shlex.join(command)}"
        return around("sh", "-c", f"{command_line} >/tmp/{name} 2>&1 || {{ cat /tmp/{name} >&2; exit 1; }}")

    def execute(name: str, *command: str) -> str:
        return ctr("task", "exec", "--exec-id=x", name, *command)

    def early() -> int:
        rows = [line.split() for line in ctr("task", "ls").splitlines()]
        return next(int(row[1]) for row in rows if row[0] == "early")

    wait_for("the daemon inside", lambda: succeeds(ctr, "version"))
    check("containerd", start, execute, early, tmp_path / "trace")
    found = [item for item in survey().containers if item.name == "web"]
    assert sorted(bool(item.pid_ns_ancestors and find("outer").pid_ns in item.pid_ns_ancestors) for item in found) == [
        False,
        True,
    ]
    for name in ("early", "web", "brief"):
        around("sh", "-c", f"ctr -n k8s.io task kill -s 9 {name}; ctr -n k8s.io task rm -f {name}; true")
