"""Every runtime that runs here: found, with the name, ids and namespaces that its own tools and /proc tell."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boxtrace.containers import Namespaces, discover, find, members, parent, survey
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.table import ProcessTable
from support.dockerd import Dockerd
from support.require import require_root
from support.runtimes import RUNTIMES, Started, child_of, rootless_podman, wait_for

Start = Callable[..., Started]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_running_container_is_found(start_container: Start, runtime: str) -> None:
    truth = start_container(runtime, f"runs-{runtime}", "/bin/sleep", "100")
    container = find(f"runs-{runtime}")
    assert (container.runtime, container.id, container.name) == (truth.runtime, truth.id, truth.name)
    assert (container.init_pid, container.image, container.state) == (truth.init_pid, truth.image, "running")
    assert container.namespaces is not None
    for kind in Namespaces.names():
        link = Path(f"/proc/{truth.init_pid}/ns/{kind}").readlink()
        assert str(link) == f"{kind}:[{getattr(container.namespaces, kind)}]"
    found = survey()
    (one,) = [item for item in found.containers if item.pid_ns == container.pid_ns]
    assert [process.pid for process in members(one, found.containers, found.snapshot)] == [truth.init_pid]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_container_is_gone_when_it_ended(start_container: Start, runtime: str) -> None:
    start_container(runtime, f"ends-{runtime}", "/bin/sleep", "1")
    deadline = time.monotonic() + 10
    while f"ends-{runtime}" in {item.name for item in discover()}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_several_runtimes_at_once_are_told_apart(start_container: Start) -> None:
    started = {start_container(runtime, "same", "/bin/sleep", "100") for runtime in ("podman", "lxc")}
    assert {find(f"{truth.runtime}:same").init_pid for truth in started} == {truth.init_pid for truth in started}


def test_container_with_the_hosts_pids_and_no_cgroup_of_its_own_is_its_processes() -> None:
    """Its cgroup is that of who started it, and of much else."""
    require_root()
    command = ("/bin/sh", "-c", "/bin/sleep 100; exit")
    with tempfile.TemporaryDirectory(prefix="bt-", ignore_cleanup_errors=True) as text:
        Path(text).chmod(0o755)
        with rootless_podman(Path(text), "host-pids", command, "--pid=host") as truth:
            child = wait_for("its child", lambda: child_of(truth.init_pid))
            found = survey()
            (container,) = [item for item in found.containers if item.name == "host-pids"]
            inside = [process.pid for process in members(container, found.containers, found.snapshot)]
            assert inside == sorted([truth.init_pid, child])


def test_container_in_a_container_has_it_as_parent(start_container: Start) -> None:
    outer = start_container("lxc", "boxtrace-outer", "/bin/unshare", "-p", "-f", "/bin/sleep", "100")

    def nested() -> int | None:
        inside = [item for item in discover() if len(item.pid_ns_ancestors) == 2]
        return inside[0].init_pid if inside else None

    init = wait_for("the nested namespace", nested)
    containers = discover()
    inner = next(item for item in containers if item.init_pid == init)
    around = parent(inner, containers)
    assert around is not None and around.init_pid == outer.init_pid


def test_task_of_containerd_is_found_without_its_api(dockerd: Dockerd) -> None:
    """Docker's own containerd: it keeps bundles as any other does."""
    identifier = dockerd.run("by-bundle", "sleep", "100")
    tasks = Containerd(()).containers(ProcessTable())
    (task,) = [item for item in tasks if item.id == identifier]
    assert (task.init_pid, task.state) == (find("by-bundle").init_pid, "running")
