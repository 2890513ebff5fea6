"""Events of applications in containers, beside the kernel's: recorded by the command line, read by babeltrace2."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.dockerd import Dockerd
from support.require import require_root
from support.runtimes import Started
from support.user import build
from support.user_trace import (
    CALLS,
    SYSCALLS,
    check_identity,
    check_interleaving,
    check_joined,
    check_names,
    namespace,
    recording,
    user_events,
)

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program: enters a system call, records an event within it as far as user space goes, and returns."""
    require_root()
    return build(HERE / "user_program.c", tmp_path_factory.mktemp("user") / "user-program", compiler="musl-gcc")


def test_demo_container(demo_container: Callable[..., Any], program: Path, tmp_path: Path) -> None:
    demo = demo_container("boxtrace-user", program.name, programs=[program])
    placed = [Path(f"/proc/{demo.init_pid}/root/{place}/boxtrace-user.sock") for place in ("run", "dev")]
    user_ns = namespace(demo.init_pid, "user")
    with recording(tmp_path / "trace", "--pid-ns", str(namespace(demo.init_pid, "pid")), *SYSCALLS):
        deadline = time.monotonic() + 30
        while not any(path.is_socket() for path in placed) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(3)
        assert [path.is_socket() for path in placed] == [False, True]
    assert not any(path.exists() for path in placed)
    events = user_events(tmp_path / "trace")
    check_identity(events, demo.init_pid)
    assert {event["user_ns"] for event in events} == {user_ns} != {namespace("self", "user")}
    check_interleaving(tmp_path / "trace")
    check_joined(tmp_path / "trace", "boxtrace-user", dumped=False)
    check_names(tmp_path / "trace", "boxtrace-user", namespace(demo.init_pid, "pid"))


@pytest.mark.parametrize("calls", [CALLS, SYSCALLS], ids=["dump", "no-dump"])
def test_docker_with_an_unmodified_image(
    calls: tuple[str, ...], dockerd: Dockerd, program: Path, tmp_path: Path
) -> None:
    mount = ("--mount", f"type=bind,source={program},target=/user-program,readonly")
    dockerd.run("user-app", "/user-program", options=(*mount, "--read-only"))
    init_pid = int(dockerd.docker("inspect", "-f", "{{.State.Pid}}", "user-app"))
    with recording(tmp_path / "trace", "--container", "user-app", *calls):
        time.sleep(3)
    check_identity(user_events(tmp_path / "trace"), init_pid)
    check_interleaving(tmp_path / "trace")
    check_joined(tmp_path / "trace", "user-app", dumped=calls is CALLS)
    check_names(tmp_path / "trace", "user-app", namespace(init_pid, "pid"))


def test_contexts_of_each_event_in_a_container_of_docker(dockerd: Dockerd, program: Path, tmp_path: Path) -> None:
    """The profile of its seccomp filter refuses perf_event_open: the recorder opens what the program reads."""
    mount = ("--mount", f"type=bind,source={program},target=/user-program,readonly")
    dockerd.run("user-counted", "/user-program", options=(*mount, "--read-only"))
    init_pid = dockerd.docker("inspect", "-f", "{{.State.Pid}}", "user-counted").strip()
    assert "\nSeccomp:\t2\n" in Path(f"/proc/{init_pid}/status").read_text()
    contexts = ("--user-context", "ip,perf:thread:context-switches")
    with recording(tmp_path / "trace", "--container", "user-counted", *contexts, *SYSCALLS):
        time.sleep(3)
    events = user_events(tmp_path / "trace")
    check_identity(events, int(init_pid))
    assert len({event["ip"] for event in events}) == 1
    for tid in {event["tid"] for event in events}:
        counts = [event["perf_thread_context_switches"] for event in events if event["tid"] == tid]
        assert len(counts) == 20 and counts == sorted(counts) and counts[0] + 19 <= counts[-1] < 1 << 32


@pytest.mark.parametrize("runtime", ["rootless_podman", "podman", "crun"])
def test_a_program_that_enters_a_running_container(
    start_container: Callable[..., Started], runtime: str, program: Path, tmp_path: Path
) -> None:
    started = start_container(runtime, "boxtrace-user-app", "sleep", "1000")
    target = Path(f"/proc/{started.init_pid}/root/tmp/user-program")
    target.write_bytes(program.read_bytes())
    target.chmod(0o755)
    enter = ["nsenter", "--all", "--setuid=0", "--setgid=0", f"--target={started.init_pid}", "/tmp/user-program"]
    selection = ("--pid-ns", str(namespace(started.init_pid, "pid")))
    with recording(tmp_path / "trace", *selection, *SYSCALLS), subprocess.Popen(enter) as process:
        time.sleep(2)
        process.kill()
    # nsenter itself stays in the cgroup of who called it; the namespace stays the container's.
    check_identity(user_events(tmp_path / "trace"), started.init_pid, inside=True)
    check_interleaving(tmp_path / "trace")


@pytest.mark.parametrize("selection", [(), ("--container", "user-l*"), ("--new-containers",)])
def test_a_container_that_starts_while_recording(
    dockerd: Dockerd, program: Path, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    mount = ("--mount", f"type=bind,source={program},target=/user-program,readonly")
    with recording(tmp_path / "trace", *selection, *SYSCALLS):
        if selection:
            dockerd.run("user-other" if selection[0] == "--container" else "user-l", "sleep", "1000")
        dockerd.run("user-later", "/user-program", options=mount)
        init_pid = int(dockerd.docker("inspect", "-f", "{{.State.Pid}}", "user-later"))
        time.sleep(5)
    check_identity(user_events(tmp_path / "trace"), init_pid)
