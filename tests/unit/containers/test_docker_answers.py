import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from boxtrace.containers.docker import Docker
from boxtrace.containers.engine import describe, describe_event
from boxtrace.containers.runtime import RuntimeAbsentError
from boxtrace.containers.table import ProcessTable
from support.fake_proc import fake_process

ANSWER: dict[str, Any] = {
    "Id": "ab" * 32,
    "Name": "/web",
    "Image": "sha256:12",
    "State": {"Status": "running", "Pid": 42, "ExitCode": 0},
    "Config": {"Image": "redis:7", "Labels": {"tier": "front"}},
}


def test_answer_becomes_a_description() -> None:
    found = describe(ANSWER)
    assert found is not None
    assert (found.id, found.name, found.state, found.init_pid) == ("ab" * 32, "web", "running", 42)
    assert (found.image, found.image_digest, found.labels) == ("redis:7", "sha256:12", {"tier": "front"})
    assert found.exit_code is None


@pytest.mark.parametrize("identifier", [None, "", 7, "../../etc", "a b", "x" * 300, "a\n"])
def test_improper_id_is_not_a_container(identifier: object) -> None:
    assert describe({**ANSWER, "Id": identifier}) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Name": "/a\x1b[31m\nb"}, {"name": r"a\x1b[31m\nb"}),
        ({"Name": None}, {"name": "ab" * 6}),
        ({"State": None}, {"state": "unknown", "init_pid": None}),
        ({"State": {"Status": "exited", "Pid": 0, "ExitCode": 137}}, {"init_pid": None, "exit_code": 137}),
        ({"State": {"Status": "running", "Pid": "1; rm"}}, {"init_pid": None}),
        ({"State": {"Status": "exited", "FinishedAt": "1970-01-01T00:00:01.5Z"}}, {"ended": 1_500_000_000}),
        ({"State": {"Status": "exited", "FinishedAt": "0001-01-01T00:00:00Z"}}, {"ended": None}),
        ({"State": {"Status": "exited", "FinishedAt": "2026-13-01T00:00:00Z"}}, {"ended": None}),
        ({"State": {"Status": "running", "FinishedAt": "2026-11-23T14:17:42.576991148Z"}}, {"ended": None}),
        ({"Config": {"Image": "x", "Labels": ["odd"]}}, {"labels": {}}),
    ],
)
def test_odd_answers_do_no_harm(changes: dict[str, Any], expected: dict[str, object]) -> None:
    found = describe({**ANSWER, **changes})
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Make sockets in a directory; returns the address of each. None is a usual one of this host."""
    with ExitStack() as stack, monkeypatch.context() as patch:
        patch.setattr("boxtrace.containers.docker._SOCKET", tmp_path / "usual")
        patch.setattr("boxtrace.containers.docker._ROOTLESS", f"{tmp_path}/user/*/docker.sock")
        patch.setattr("boxtrace.containers.podman._SOCKETS", (f"{tmp_path}/podman.sock",))
        patch.delenv("CONTAINER_HOST", raising=False)

        def listen(name: str) -> str:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(tmp_path / name))
            return f"unix://{tmp_path / name}"

        yield listen


def test_daemons_at_usual_and_chosen_sockets(listening: Callable[[str], str], tmp_path: Path) -> None:
    none = ProcessTable(tmp_path / "proc")
    (tmp_path / "proc").mkdir()
    assert Docker.addresses(none, {}) == []
    usual, users, chosen = listening("usual"), listening("user/1000/docker.sock"), listening("other")
    assert Docker.addresses(none, {}) == [usual, users]
    assert Docker.addresses(none, {"DOCKER_HOST": chosen}) == [chosen, usual, users]
    assert Docker.addresses(none, {"DOCKER_HOST": usual}) == [usual, users]
    assert Docker.addresses(none, {"DOCKER_HOST": "tcp://10.0.0.1:2375"}) == [usual, users]


def test_socket_at_which_podman_answers_is_not_dockers(listening: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    listening("podman.sock")
    (tmp_path / "usual").symlink_to("podman.sock")
    assert Docker.addresses(ProcessTable(tmp_path / "proc"), {"DOCKER_HOST": f"unix://{tmp_path}/podman.sock"}) == []


def test_daemons_that_run_tell_where_they_listen(listening: Callable[[str], str], tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    commands = {
        10: ("-H", "fd://", "--host=tcp://0.0.0.0:2375", f"--host={listening('a')}"),
        11: ("--config-file", "/etc/d.json", "-H", listening("b")),  # its root has no such socket
        12: ("--data-root=/x",),
        13: ("-H",),
        14: ("--rootless",),
        15: ("--rootless",),  # of an environment that nobody may read
    }
    for pid, arguments in commands.items():
        fake_process(proc, pid, "dockerd", 1, 5, "dockerd", *arguments)
        (proc / str(pid) / "root").symlink_to("/")
    (proc / "11/root").unlink()
    (proc / "11/root/etc").mkdir(parents=True)
    (proc / "11/root/etc/d.json").write_text(json.dumps({"hosts": [7, "unix:///run/c", "unix:///run/none"]}))
    there = listening("proc/11/root/run/c")
    (proc / "14/environ").write_text(f"A=1\0odd\0XDG_RUNTIME_DIR={tmp_path}/home\0")
    own = listening("home/docker.sock")
    assert set(Docker.addresses(ProcessTable(proc), {})) == {f"unix://{tmp_path}/a", there, own}


def test_daemon_of_a_network_is_not_this_hosts(
    listening: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(RuntimeAbsentError, match=r"no daemon of this host at tcp://10\.0\.0\.1"):
        Docker().containers(ProcessTable(tmp_path / "proc"))


def test_event_alone_tells_name_image_labels_and_exit_code() -> None:
    attributes = {"name": "web", "image": "redis:7", "exitCode": "137", "tier": "front"}
    event = {"Action": "die", "Actor": {"ID": "ab" * 32, "Attributes": attributes}}
    found = describe_event(event)
    assert found is not None
    assert (found.name, found.image, found.state, found.exit_code) == ("web", "redis:7", "exited", 137)
    assert found.labels == {"tier": "front"}


@pytest.mark.parametrize("event", [{}, {"Action": "exec_start: sh"}, {"Action": "die", "Actor": 7}, {"Action": "die"}])
def test_event_of_no_concern(event: dict[str, Any]) -> None:
    assert describe_event(event) is None
