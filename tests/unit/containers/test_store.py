import json
from dataclasses import replace
from pathlib import Path

import pytest

from boxtrace.containers.model import CGROUP2, Cgroup, Container, Namespaces
from boxtrace.containers.store import FILE_NAME, ContainerStore
from boxtrace.errors import ContainerNotFoundError, OutputError, SelectionError, TraceFormatError
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid


def namespaces(pid: int) -> Namespaces:
    return Namespaces(*(NamespaceInum(pid if name == "pid" else 7) for name in Namespaces.names()))


WEB = Container(
    runtime="docker",
    id="ab" * 32,
    name="web",
    state="running",
    image="redis:7",
    image_digest="sha256:12",
    init_pid=Pid(11734),
    namespaces=namespaces(100),
    pid_ns_ancestors=(NamespaceInum(1),),
    birth=Nanoseconds(5_000_000_000),
    cgroups=(Cgroup(CGROUP2, "/docker/ab", CgroupId(44)), Cgroup("memory", "/docker/ab")),
    labels={"tier": "front"},
)
NESTED = Container(
    "unknown", "pidns-200", "pidns-200", "running", namespaces=namespaces(200),
    pid_ns_ancestors=(NamespaceInum(100), NamespaceInum(1)), birth=Nanoseconds(6),
)  # fmt: skip
OTHER = replace(WEB, id="cd" * 32, name="db", namespaces=namespaces(300))
HOST_PID = replace(WEB, id="ef" * 32, name="agent", namespaces=namespaces(1), pid_ns_ancestors=())
EXITED = Container("docker", "0" * 64, "old", "exited", exit_code=137)


def test_what_was_recorded_is_read_again(tmp_path: Path) -> None:
    everything = (WEB, NESTED, OTHER, HOST_PID, EXITED)
    ContainerStore(tmp_path).record(everything)
    assert ContainerStore(tmp_path).containers == everything


def test_resolve_includes_what_is_inside(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    store.record([WEB, NESTED, OTHER, HOST_PID, EXITED])
    assert store.resolve("web") == {100, 200}
    assert store.resolve("cdcd") == {300}
    assert store.resolve("pidns-200") == {200}
    for word, why in (("agent", "shares the host's"), ("old", "had no process")):
        with pytest.raises(SelectionError, match=why):
            store.resolve(word)
    with pytest.raises(ContainerNotFoundError):
        store.resolve("wob")


def test_each_life_is_kept_and_the_last_is_meant(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    store.record([WEB])
    again = replace(WEB, birth=Nanoseconds(9_000_000_000), namespaces=namespaces(400), init_pid=Pid(5))
    store.record([again, OTHER])
    store.record([replace(again, state="paused")])
    kept = ContainerStore(tmp_path)
    assert [(item.name, item.birth, item.state) for item in kept.containers] == [
        ("web", 5_000_000_000, "running"),
        ("web", 9_000_000_000, "paused"),
        ("db", 5_000_000_000, "running"),
    ]
    assert kept.resolve("web") == {400}


def test_trace_without_the_file_knows_nothing(tmp_path: Path) -> None:
    assert ContainerStore(tmp_path).containers == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(version=2),
        lambda document: document.update(format="other"),
        lambda document: document.pop("containers"),
        lambda document: document["containers"][0].pop("id"),
        lambda document: document["containers"][0].update(name=5),
        lambda document: document["containers"][0].update(namespaces={"pid": 1}),
        lambda document: document["containers"][0].update(labels=["x"]),
    ],
)
def test_bad_file_is_an_error_with_its_path(tmp_path: Path, change: object) -> None:
    ContainerStore(tmp_path).record([WEB])
    document = json.loads((tmp_path / FILE_NAME).read_text())
    assert callable(change)
    change(document)
    (tmp_path / FILE_NAME).write_text(json.dumps(document))
    with pytest.raises(TraceFormatError) as caught:
        ContainerStore(tmp_path)
    assert caught.value.path == str(tmp_path / FILE_NAME)


def test_unwritable_trace_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        ContainerStore(tmp_path / "gone").record([WEB])


def test_names_in_the_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    ContainerStore(tmp_path).record([replace(WEB, name="evil\x1b[2Jname")])
    assert ContainerStore(tmp_path).containers[0].name == r"evil\x1b[2Jname"
