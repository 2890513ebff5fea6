"""What a recording is limited to, changed while it runs, with containers of Docker and Podman."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxtrace.errors import BoxtraceError
from boxtrace.session.control import ask_recording
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.recorder import Recorder, check_valid, until
from support.require import require_root
from support.runtimes import PODMAN_IMAGE, PODMAN_LIMITS, podman_calls, podman_service

POKED = "while read word < $0/in; do usleep 1; echo done > $0/out; done"
EVENTS = ("-e", "syscall_entry_*nanosleep", "--no-state-dump")
CONTAINERS = {
    "web-front": ("shop/cart:1.2", "tier=front"),
    "web-back": ("shop/cart:2.0", "tier=back"),
    "db": ("store:1", "tier=back"),
    "plain": ("store:1", None),
}
PHASES: dict[str, tuple[list[tuple[str, ...]], set[str]]] = {
    "image": ([("image", "cart")], {"web-front", "web-back"}),
    "image of one version": ([("image", "*/cart:2*")], {"web-back"}),
    "images": ([("image", "cart", "store")], {"web-front", "web-back", "db", "plain"}),
    "image without": ([("image", "cart", "!*cart:2*")], {"web-front"}),
    "not image": ([("image", "!cart")], {"db", "plain", "host"}),
    "label": ([("label", "tier")], {"web-front", "web-back", "db"}),
    "label with a value": ([("label", "tier=b*")], {"web-back", "db"}),
    "label without": ([("label", "tier", "!tier=front")], {"web-back", "db"}),
    "not label": ([("label", "!tier")], {"plain", "host"}),
    "image and label": ([("image", "cart"), ("label", "tier=back")], {"web-back"}),
    "image without a container": ([("image", "cart"), ("container", "!web-back")], {"web-front"}),
    "host only": ([("host-only",)], {"host"}),
    "nothing": ([], {*CONTAINERS, "host"}),
}
Run = Callable[[str, str, tuple[str, ...]], int]
"""Starts a container of that name and image, with such options, that is told what to do; returns its first process."""


class Poked:
    """Somebody who sleeps for a moment when told to, by pipes in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        for name in ("in", "out"):
            os.mkfifo(directory / name)
        self.pid = 0

    def poke(self) -> None:
        (self.directory / "in").write_text("now\n")
        assert (self.directory / "out").read_text() == "done\n"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short name: Podman refuses long ones."""
    require_root()
    with tempfile.TemporaryDirectory(prefix="bt-", ignore_cleanup_errors=True) as text:
        yield Path(text)


@pytest.fixture(params=["docker", "podman"])
def run_container(request: pytest.FixtureRequest, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    if request.param == "docker":
        dockerd: Dockerd = request.getfixturevalue("dockerd")
        images = {image for image, _ in CONTAINERS.values()}
        for image in images:
            dockerd.docker("tag", BUSYBOX_IMAGE, image)

        def run_docker(name: str, image: str, options: tuple[str, ...]) -> int:
            dockerd.run(name, "sh", "-c", POKED, "/poke", image=image, options=options)
            return int(dockerd.docker("inspect", "--format={{.State.Pid}}", name))

        yield run_docker
        dockerd.remove_containers()
        dockerd.docker("rmi", *images)
        return
    with podman_calls(short_path) as podman, podman_service(short_path) as address:
        monkeypatch.setenv("CONTAINER_HOST", address)
        for image, _ in CONTAINERS.values():
            podman("tag", PODMAN_IMAGE, f"localhost/{image}")

        def run_podman(name: str, image: str, options: tuple[str, ...]) -> int:
            what = (f"localhost/{image}", "sh", "-c", POKED, "/poke")
            podman("run", "--detach", f"--name={name}", *PODMAN_LIMITS, *options, *what)
            return int(podman("inspect", "--format={{.State.Pid}}", name))

        yield run_podman


@pytest.fixture
def poked(run_container: Run, short_path: Path) -> Iterator[dict[str, Poked]]:
    """The containers, and a process of the host."""
    found = {name: started(run_container, short_path, name) for name in CONTAINERS}
    with on_host(short_path / "poke-host") as found["host"]:
        yield found


def started(run_container: Run, directory: Path, name: str, image: str = "", label: str | None = None) -> Poked:
    image, label = (image, label) if image else CONTAINERS[name]
    each = Poked(directory / f"poke-{name}")
    labels = () if label is None else (f"--label={label}",)
    each.pid = run_container(name, image, (f"--volume={each.directory}:/poke", *labels))
    return each


@contextmanager
def on_host(directory: Path) -> Iterator[Poked]:
    each = Poked(directory)
    process = subprocess.Popen(["busybox", "sh", "-c", POKED, directory])
    each.pid = process.pid
    try:
        yield each
    finally:
        process.kill()
        process.wait()


def test_by_image_label_and_host_only(poked: dict[str, Poked], tmp_path: Path) -> None:
    marks: list[tuple[str, int]] = []
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        pid = recorder.process.pid
        for phase, (sets, _) in PHASES.items():
            for kind, *values in sets:
                ask_recording("track", pid, kind=kind, values=values)
            marks.append((phase, time.time_ns()))
            for each in poked.values():
                each.poke()
            marks.append(("", time.time_ns()))
            for kind, *_ in sets:
                answer = ask_recording("untrack", pid, kind=kind, values=[])
            assert not sets or not answer["sets"]
        recorded = recorder.stop()
    check_valid(recorded)
    pids = {each.pid: name for name, each in poked.items()}
    seen: dict[str, set[str]] = {phase: set() for phase in PHASES}
    for event in recorded.events:
        phase = next((name for name, began in reversed(marks) if began <= event.timestamp), "")
        name = pids.get(event.context["pid"]) or pids.get(event.context["ppid"])
        if phase and name:
            seen[phase].add(name)
    assert seen == {phase: expected for phase, (_, expected) in PHASES.items()}


def test_one_that_starts_after_a_change(run_container: Run, short_path: Path, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", *EVENTS, "-e", "syscall_entry_execve", "--image", "nothing") as recorder:
        pid = recorder.process.pid
        asks = [
            ("track", "image", ["cart"]),
            ("untrack", "image", ["nothing"]),
            ("track", "label", ["tier", "!tier=back"]),
        ]
        for request, kind, values in asks:
            answer = ask_recording(request, pid, kind=kind, values=values)
        assert answer["sets"] == {"image": ["cart"], "label": ["!tier=back", "tier"]}
        poked = {name: started(run_container, short_path, name) for name in CONTAINERS}
        for each in poked.values():
            each.poke()
        told = tmp_path / "trace/containers"
        until(lambda: any(b"web-front" in file.read_bytes() for file in told.iterdir() if file.is_file()))
        ask_recording("untrack", pid, kind="label", values=["!tier=back"])
        ask_recording("track", pid, kind="image", values=["!*cart:1*"])
        for each in poked.values():
            each.poke()
        recorded = recorder.stop()
    check_valid(recorded)
    pids = {each.pid: name for name, each in poked.items()}
    found = [
        (pids.get(event.context["pid"]) or pids.get(event.context["ppid"]), event.name) for event in recorded.events
    ]
    assert {name for name, _ in found} == {"web-front", "web-back"}
    # From its first instruction, and until the change; the other one from then on, though it was born before.
    assert next(event for name, event in found if name == "web-front") == "syscall_entry_execve"
    assert sum(name == "web-front" and event.endswith("nanosleep") for name, event in found) == 1
    # What it did before Podman's service had answered is judged by what is asked for by then.
    assert sum(name == "web-back" and event.endswith("nanosleep") for name, event in found) in (1, 2)


def test_one_that_starts_in_a_recording_of_the_whole_host(run_container: Run, short_path: Path, tmp_path: Path) -> None:
    """Its programs do not know of births: it is taken when its runtime has told of it."""
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        pid = recorder.process.pid
        with pytest.raises(BoxtraceError, match="cannot be limited to new containers"):
            ask_recording("track", pid, kind="new-containers", values=[])
        assert ask_recording("tracked", pid)["sets"] == {}
        answer = ask_recording("track", pid, kind="image", values=["cart", "!*cart:2*"])
        assert "up to a second after their start" in answer["notes"][0]
        poked = {name: started(run_container, short_path, name) for name in CONTAINERS}
        size, deadline = _recorded_bytes(tmp_path), time.monotonic() + 60
        while _recorded_bytes(tmp_path) == size:
            assert time.monotonic() < deadline, "none was taken"
            for each in poked.values():
                each.poke()
            time.sleep(0.05)
        recorded = recorder.stop()
    check_valid(recorded)
    pids = {each.pid: name for name, each in poked.items()}
    found = {pids.get(event.context["pid"]) or pids.get(event.context["ppid"]) for event in recorded.events}
    assert found & set(CONTAINERS) == {"web-front"}


def _recorded_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in (directory / "trace").rglob("channel0_*") if file.suffix != ".idx")


def test_labels_that_podman_does_not_tell(short_path: Path, tmp_path: Path) -> None:
    with podman_calls(short_path) as podman:
        podman("run", "--detach", "--name=web", "--label=tier=front", *PODMAN_LIMITS, PODMAN_IMAGE, "sleep", "1000")
        with Recorder(tmp_path / "trace", *EVENTS, "--container", "web") as recorder:
            pid = recorder.process.pid
            assert ask_recording("tracked", pid)["notes"] == []
            answer = ask_recording("track", pid, kind="label", values=["!tier=back"])
            recorder.stop()
    assert "labels of its containers only where its API service is on" in answer["notes"][0]
