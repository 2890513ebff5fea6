"""Containers that start while recording and share namespaces with the host, with another container, or lie in one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxtrace.trace.containers import TraceContainers
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.newborns import RECORDED, check_newborns
from support.recorder import Recorded, Recorder, check_valid
from support.require import require_program, require_root
from support.runtimes import CRUN, PODMAN_IMAGE, PODMAN_LIMITS, podman_calls, run, write_bundle

PROGRAM = "/bin/usleep"
WAITING = ("sh", "-c", "while :; do usleep 10000; done")
CALLS = ("-e", "syscall_entry_execve", "-e", "syscall_entry_*nanosleep", "--no-state-dump")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short name: Podman refuses long ones."""
    require_root()
    with tempfile.TemporaryDirectory(prefix="bt-", ignore_cleanup_errors=True) as text:
        yield Path(text)


def run_docker(dockerd: Dockerd, name: str, *options: str, command: tuple[str, ...] = (PROGRAM, "30000")) -> None:
    """Run a container of 30 ms to its end."""
    network = () if any(option.startswith("--network") for option in options) else ("--network=none",)
    dockerd.docker("run", "--rm", *network, f"--name={name}", *options, BUSYBOX_IMAGE, *command)


def programs(recorded: Recorded, name: str | None = None) -> list[str]:
    """What was executed in a container, or by anybody."""
    check_valid(recorded)
    test = TraceContainers(recorded.trace).selector(name) if name is not None else lambda _: True
    return [event["filename"] for event in recorded.named("syscall_entry_execve") if test(event)]


@pytest.mark.parametrize(
    "options",
    [
        ("--pid=host",),
        ("--network=host",),
        ("--userns=host",),
        ("--pid=host", "--network=host", "--ipc=host", "--uts=host", "--cgroupns=host"),
    ],
    ids=" ".join,
)
def test_shared_with_the_host(dockerd: Dockerd, tmp_path: Path, options: tuple[str, ...]) -> None:
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        for name in ("web-1", "other-1", "web-2"):
            run_docker(dockerd, name, *options)
        recorded = recorder.stop()
    check_newborns(recorded, ["web-1", "web-2"], PROGRAM)


def test_podman_shares_the_hosts_pid_namespace(short_path: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED)
    with podman_calls(short_path) as podman, recorder:
        for name in ("web-1", "other-1", "web-2"):
            podman("run", "--rm", f"--name={name}", *PODMAN_LIMITS, "--pid=host", PODMAN_IMAGE, PROGRAM, "30000")
        recorded = recorder.stop()
    check_newborns(recorded, ["web-1", "web-2"], PROGRAM)


@pytest.mark.parametrize("runtime", [("runc",), CRUN], ids=["runc", "crun"])
def test_bundles_share_the_hosts_pid_namespace(short_path: Path, tmp_path: Path, runtime: tuple[str, ...]) -> None:
    require_program(runtime[-1], runtime[-1])
    with Recorder(tmp_path / "trace", "--container", "bt-web-*", *RECORDED) as recorder:
        for name in ("bt-web-1", "bt-other-1", "bt-web-2"):
            (short_path / name).mkdir()
            write_bundle(short_path / name, name, (PROGRAM, "30000"), "pid")
            run(*runtime, "run", f"--bundle={short_path / name}", name, stdin=subprocess.DEVNULL)
        recorded = recorder.stop()
    check_newborns(recorded, ["bt-web-1", "bt-web-2"], PROGRAM)


def test_new_ones_without_the_hosts_own(dockerd: Dockerd, tmp_path: Path) -> None:
    dockerd.run("old", *WAITING, options=("--pid=host",))
    with Recorder(tmp_path / "trace", "--new-containers", *RECORDED) as recorder:
        run_docker(dockerd, "new", "--pid=host")
        host = subprocess.Popen(["/bin/true"])
        host.wait()
        recorded = recorder.stop()
    check_newborns(recorded, ["new"], PROGRAM, alone=False)
    assert host.pid not in {event.context["pid"] for event in recorded.events}
    assert "old" not in [container.name for container in TraceContainers(recorded.trace).containers]


def test_what_is_executed_in_it_later(dockerd: Dockerd, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--container", "web-*", *CALLS) as recorder:
        dockerd.run("web-1", *WAITING, options=("--pid=host",))
        subprocess.run(["/bin/true"], check=True)
        dockerd.docker("exec", "web-1", PROGRAM, "12345")
        recorded = recorder.stop()
    executed = programs(recorded)
    assert PROGRAM in executed and "/bin/true" not in executed


def test_in_another_containers_pid_namespace(dockerd: Dockerd, tmp_path: Path) -> None:
    dockerd.run("db", *WAITING)
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        for name in ("web-1", "other-1", "web-2"):
            run_docker(dockerd, name, "--pid=container:db")
        recorded = recorder.stop()
    check_newborns(recorded, ["web-1", "web-2"], PROGRAM)


def test_in_a_selected_containers_pid_namespace_it_belongs_to_that(dockerd: Dockerd, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--container", "web-*", "--container", "!secret", *CALLS) as recorder:
        dockerd.run("web-1", *WAITING)
        for name, program in (("beside", "/bin/true"), ("secret", "/bin/false")):
            try:
                run_docker(dockerd, name, "--pid=container:web-1", command=(program,))
            except RuntimeError:
                assert name == "secret"  # its exit status
        recorded = recorder.stop()
    executed = programs(recorded)
    assert "/bin/true" in executed and "/bin/false" not in executed


def test_pod_whose_containers_share_a_pid_namespace(dockerd: Dockerd, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        dockerd.run("pause", "sleep", "1000", options=("--ipc=shareable",))
        shared = ("--pid=container:pause", "--network=container:pause", "--ipc=container:pause")
        for name in ("web-1", "sidecar", "web-2"):
            run_docker(dockerd, name, *shared)
        recorded = recorder.stop()
    check_newborns(recorded, ["web-1", "web-2"], PROGRAM)


@pytest.mark.parametrize("wanted", [True, False], ids=["selected", "not selected"])
def test_started_inside_another_container(dockerd: Dockerd, short_path: Path, tmp_path: Path, wanted: bool) -> None:
    """A runtime that runs in a container: what it starts is that container's, whatever it is called."""
    outer = "web-outer" if wanted else "outer"
    write_bundle(short_path, "web-inner", (PROGRAM, "30000"))
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        dockerd.run(outer, *WAITING)
        init = dockerd.docker("inspect", "--format={{.State.Pid}}", outer)
        script = f"mount -t proc proc /proc && runc --root={short_path}/state run --bundle={short_path} web-inner"
        inside = ("nsenter", f"--target={init}", "--pid", "unshare", "--mount", "sh", "-c", script)
        run(*inside, stdin=subprocess.DEVNULL)
        recorded = recorder.stop()
    check_valid(recorded)
    inner = [event for event in recorded.named("syscall_entry_execve") if event["filename"] == PROGRAM]
    if not wanted:
        assert not recorded.events, "it is no container of its own"
        return
    assert len(inner) == 1 and inner[0].context["vpid"] == 1
    assert TraceContainers(recorded.trace).selector(outer)(inner[0])
