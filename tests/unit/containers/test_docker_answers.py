from typing import Any

import pytest

from boxtrace.containers.docker import socket_address
from boxtrace.containers.engine import describe, describe_event
from boxtrace.containers.runtime import RuntimeAbsentError

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


def test_address_of_the_daemon() -> None:
    assert socket_address({}) == "unix:///var/run/docker.sock"
    assert socket_address({"DOCKER_HOST": "unix:///tmp/s"}) == "unix:///tmp/s"
    with pytest.raises(RuntimeAbsentError, match="another machine"):
        socket_address({"DOCKER_HOST": "tcp://10.0.0.1:2375"})


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
