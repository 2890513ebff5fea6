"""Containers of a real Docker daemon, as `docker inspect`, lsns and /proc tell of them."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from boxtrace.containers import ContainerStore, Namespaces, discover, find, members, survey
from boxtrace.containers.docker import Docker
from boxtrace.containers.listing import list_containers
from boxtrace.containers.runtime import RuntimeFailedError
from boxtrace.containers.table import ProcessTable
from boxtrace.errors import ContainerNotFoundError, SelectionError
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.runtimes import wait_for


def inspect(daemon: Dockerd, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(daemon.docker("inspect", name))[0]
    return answer


def test_running_container_agrees_with_docker_lsns_and_proc(dockerd: Dockerd, redis_image: str) -> None:
    dockerd.run(
        "web", "redis-server", "--save", "", image=redis_image, options=("--label=tier=front", "--label=odd=a\x1bb")
    )
    truth = inspect(dockerd, "web")
    container = find("web")
    assert (container.runtime, container.id, container.name) == ("docker", truth["Id"], "web")
    assert (container.image, container.image_digest, container.state) == (redis_image, truth["Image"], "running")
    assert container.init_pid == truth["State"]["Pid"]
    assert container.labels == {"tier": "front", "odd": "a\\x1bb"}
    assert container.namespaces is not None
    for kind in Namespaces.names():
        number = getattr(container.namespaces, kind)
        assert str(Path(f"/proc/{container.init_pid}/ns/{kind}").readlink()) == f"{kind}:[{number}]"
    listed = subprocess.run(
        ["lsns", "-t", "pid", "-n", "-o", "NS,PID"], check=True, capture_output=True, text=True
    ).stdout
    assert [str(container.pid_ns), str(container.init_pid)] in [line.split() for line in listed.splitlines()]
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert container.birth is not None and now - 60 * 10**9 < container.birth < now
    cgroup = container.cgroup
    assert cgroup is not None and truth["Id"] in cgroup.path and cgroup.id


def test_word_may_be_name_id_or_prefix(dockerd: Dockerd) -> None:
    first = dockerd.run("alpha-one", "sleep", "100")
    dockerd.run("alpha-two", "sleep", "100")
    for word in ("alpha-one", first, first[:10], "alpha-o", "docker:alpha-one"):
        assert find(word).id == first
    with pytest.raises(SelectionError, match=r"alpha-one.*or.*alpha-two"):
        find("alpha-")
    with pytest.raises(ContainerNotFoundError) as caught:
        find("alpha-once")
    assert caught.value.near[0] == "alpha-one"


def test_stopped_container_is_told_from_a_missing_one(dockerd: Dockerd) -> None:
    dockerd.run("brief", "true")
    dockerd.docker("wait", "brief")
    with pytest.raises(SelectionError, match="not running"):
        find("brief")
    assert "brief" not in [container.name for container in discover()]
    (container,) = [item for item in survey(stopped=True).containers if item.name == "brief"]
    assert (container.state, container.exit_code, container.init_pid) == ("exited", 0, None)


def test_members_with_own_shared_and_host_pid_namespace(dockerd: Dockerd) -> None:
    dockerd.run("own", "sh", "-c", "sleep 100 & sleep 100 & wait")
    dockerd.run("host", "sh", "-c", "sleep 100 & wait", options=("--pid=host",))
    dockerd.run("joined", "sleep", "100", options=("--pid=container:own",))
    found = survey()
    for name, number in (("own", 3), ("host", 2), ("joined", 1)):
        (container,) = [item for item in found.containers if item.name == name]
        truth = {int(line.split()[0]) for line in dockerd.docker("top", name, "-eo", "pid").splitlines()[1:]}
        assert len(truth) == number
        assert {process.pid for process in members(container, found.containers, found.snapshot)} == truth


def test_container_that_another_started_inside_is_nested(dockerd: Dockerd) -> None:
    allowed = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
    dockerd.run("outer", "unshare", "-p", "-f", "sleep", "100", options=allowed)
    deadline = time.monotonic() + 10
    inner = None
    while inner is None and time.monotonic() < deadline:
        outer = find("outer")
        inner = next((item for item in discover() if outer.pid_ns in item.pid_ns_ancestors), None)
    assert inner is not None and inner.runtime == "unknown"
    assert inner.name == f"pidns-{inner.pid_ns}"  # its cgroup is the outer one's, and so is that cgroup's name
    assert inner.pid_ns_ancestors[:1] == (outer.pid_ns,)


def test_container_inside_one_with_the_hosts_pids_has_it_as_parent(dockerd: Dockerd) -> None:
    allowed = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
    dockerd.run("around", "unshare", "-p", "-f", "sleep", "100", options=("--pid=host", *allowed))

    def inside() -> int | None:
        found = survey()
        (around,) = [item for item in found.containers if item.name == "around"]
        inits = {process.pid for process in members(around, found.containers, found.snapshot)}
        rows = [row for row in list_containers(found) if row.container.init_pid in inits and row.container != around]
        assert all(row.parent == around for row in rows)
        return len(rows)

    assert wait_for("the container inside", inside) == 1


def test_names_stay_in_the_trace(dockerd: Dockerd, tmp_path: Path) -> None:
    dockerd.run("kept", "sleep", "100")
    ContainerStore(tmp_path).record(discover())
    number = find("kept").pid_ns
    dockerd.docker("rm", "--force", "kept")
    assert ContainerStore(tmp_path).resolve("kept") == {number}
    (container,) = [item for item in ContainerStore(tmp_path).containers if item.name == "kept"]
    assert container.image == BUSYBOX_IMAGE


def test_daemon_that_does_not_answer_is_a_failure_not_a_hang(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        started = time.monotonic()
        with pytest.raises(RuntimeFailedError, match="does not answer"):
            Docker(f"unix://{tmp_path}/s").containers(ProcessTable())
        assert time.monotonic() - started < 10


def test_daemon_that_does_not_answer_hides_no_others_containers(
    dockerd: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerd.run("answers", "sleep", "100")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
        found = survey()
    assert "answers" in {item.name for item in found.containers}
    assert [str(tmp_path) in str(failure) for failure in found.failed] == [True]
