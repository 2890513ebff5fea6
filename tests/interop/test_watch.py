"""Containers that come and go while somebody watches."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from boxtrace.containers import Container, ContainerStore, discover
from boxtrace.containers.beside import Birth
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.lxc import Lxc
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.watch import ContainerWatch
from boxtrace.units import Pid
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.runtimes import Started, child_of, wait_for


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stored(trace: Path, name: str) -> Container | None:
    return next((item for item in reversed(ContainerStore(trace).containers) if item.name == name), None)


def test_docker_container_that_starts_is_renamed_and_dies(dockerd: Dockerd, tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    known = discover()
    store.record(known)
    with ContainerWatch(store.record, known, runtimes=()):
        identifier = dockerd.run("early-name", "sh", "-c", "sleep 2; exit 7")
        pid = dockerd.docker("inspect", "-f", "{{.State.Pid}}", "early-name")
        until(lambda: stored(tmp_path, "early-name"))
        dockerd.docker("rename", "early-name", "late-name")
        dockerd.docker("wait", "late-name")
    container = stored(tmp_path, "late-name")
    assert container is not None and stored(tmp_path, "early-name") is None
    assert (container.id, str(container.init_pid)) == (identifier, pid)
    assert (container.state, container.exit_code) == ("exited", 7)
    assert container.pid_ns and container.identity is not None
    now = time.time_ns()
    assert container.ended is not None and now - 60 * 10**9 < container.ended < now
    dockerd.docker("rm", "--force", "late-name")


def test_containers_too_short_to_be_seen_have_their_names(dockerd: Dockerd, tmp_path: Path) -> None:
    names = [f"short-{number}" for number in range(5)]
    with ContainerWatch(ContainerStore(tmp_path).record, discover(), runtimes=()):
        for name in names:
            dockerd.run(name, "true")
        for name in names:
            dockerd.docker("wait", name)
    found = {item.name: item for item in ContainerStore(tmp_path).containers}
    assert [found[name].exit_code for name in names] == [0] * 5
    assert all(found[name].ended for name in names)


def test_restart_is_another_life(dockerd: Dockerd, tmp_path: Path) -> None:
    with ContainerWatch(ContainerStore(tmp_path).record, discover(), runtimes=()):
        dockerd.run("again", "sleep", "100")
        dockerd.docker("restart", "--time=0", "again")
        until(lambda: len([item for item in ContainerStore(tmp_path).containers if item.name == "again"]) == 2)
    first, second = [item for item in ContainerStore(tmp_path).containers if item.name == "again"]
    assert first.id == second.id and first.birth and second.birth and first.birth < second.birth


def test_container_without_a_daemon_is_found_by_its_monitor(
    start_container: Callable[..., Started], tmp_path: Path
) -> None:
    records: list[Container] = []

    def record(containers: Iterable[Container]) -> None:
        records.extend(containers)

    with ContainerWatch(record, discover(), engines={}, runtimes=[Lxc()], look_seconds=0.2):
        truth = start_container("lxc", "watched", "/bin/sleep", "3")
        until(lambda: [item for item in records if item.state == "exited"])
    assert [(item.name, item.init_pid, item.state) for item in records] == [
        ("watched", truth.init_pid, "running"),
        ("watched", truth.init_pid, "exited"),
    ]
    assert records[0].identity == records[1].identity is not None


def test_watch_of_a_host_without_daemons_ends_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with ContainerWatch(ContainerStore(tmp_path).record, engines={f"unix://{tmp_path}/none": "docker"}, runtimes=()):
        pass
    assert time.monotonic() - started < 1


def test_first_process_is_seen_though_it_ends_at_once(dockerd: Dockerd, tmp_path: Path) -> None:
    """By the bundle that containerd writes before the program runs, under the name that Docker tells."""
    dockerd.docker("run", "--rm", "--network=none", BUSYBOX_IMAGE, "true")  # so that containerd's directory exists
    store = ContainerStore(tmp_path)
    with ContainerWatch(store.record, discover(), runtimes=[Containerd(())], look_seconds=0.5):
        time.sleep(1)
        # Some are over before anybody looks; those are told by their end when the trace is read.
        for number in range(40):
            dockerd.run(f"instant-{number}", "true")
            if number >= 4 and any(item.identity is not None for item in store.containers):
                break
    found = [item for item in ContainerStore(tmp_path).containers if item.name.startswith("instant-")]
    assert [item.runtime for item in found] == ["docker"] * (number + 1)
    identities = [item.identity for item in found if item.identity is not None]
    assert identities and len(set(identities)) == len(identities)
    assert all(item.cgroup is not None and item.id in item.cgroup.path for item in found if item.namespaces)


def test_newborn_is_known_by_who_is_beside_it_and_not_what_is_inside_it(
    start_container: Callable[..., Started], tmp_path: Path
) -> None:
    records: list[Container] = []
    watch = ContainerWatch(records.extend, discover(), engines={}, runtimes=[Lxc()], look_seconds=1000)
    with watch:
        truth = start_container("lxc", "newborn", "/bin/unshare", "-p", "-f", "/bin/sleep", "100")
        inner = wait_for("the container inside", lambda: _inner(truth.init_pid))
        watch.notice([_born(inner), _born(truth.init_pid)])
        until(lambda: records)
    assert {(item.runtime, item.name, item.init_pid) for item in records} == {("lxc", "newborn", truth.init_pid)}


def _born(pid: int) -> Birth:
    """Tell of a process what the kernel does when it is born."""
    processes = ProcessTable()
    ancestors: list[Task] = []
    task = processes.task(processes.tasks[Pid(pid)].ppid)
    while task is not None and task.pid > 1 and (not ancestors or _pid_ns(task.pid) == _pid_ns(ancestors[0].pid)):
        ancestors.append(task)
        task = processes.task(task.ppid)
    return Birth(Pid(pid), tuple(ancestors))


def _pid_ns(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/pid").readlink()


def _inner(init: int) -> Pid | None:
    """The child of a container's first process, once it is in a pid namespace of its own."""
    child = child_of(init)
    own = None if child is None else Path(f"/proc/{child}/ns/pid").readlink()
    return Pid(child) if child is not None and own != Path(f"/proc/{init}/ns/pid").readlink() else None
