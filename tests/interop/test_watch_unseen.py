"""``boxtrace containers --watch`` tells of containers that are over before anybody looks at them."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.recorder import BOXTRACE, until
from support.runtimes import PODMAN_IMAGE, PODMAN_LIMITS, podman_calls

_SECONDS = 60


class Watch:
    """What ``boxtrace containers --watch --json`` has written so far."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def lines(self, identifier: str) -> list[dict[str, Any]]:
        whole = self._output.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["id"] == identifier]

    def changes(self, identifier: str) -> list[str]:
        """What has happened, but for updates: who is seen while it starts or ends may have another state."""
        return [line["change"] for line in self.lines(identifier) if line["change"] != "update"]

    def is_told(self, identifier: str) -> bool:
        return self.changes(identifier)[-1:] == ["end"]


@contextmanager
def watching(output: Path, there: str) -> Iterator[Watch]:
    """Watch, from when a container was listed that is there already, until the end of the block."""
    with (
        output.open("w") as file,
        subprocess.Popen([*BOXTRACE, "containers", "--watch", "--json"], stdout=file) as process,
    ):
        try:
            watch = Watch(output)
            until(lambda: watch.lines(there), _SECONDS)
            yield watch
            process.send_signal(signal.SIGINT)
            assert process.wait(_SECONDS) == 0
        finally:
            process.kill()


def test_short_containers_of_docker(dockerd: Dockerd, tmp_path: Path) -> None:
    there = dockerd.run("there", "sleep", "1000")
    seen = dockerd.run("seen", "sleep", "1000")
    options = ("run", "--rm", "--network=none")
    with watching(tmp_path / "lines", there) as watch:
        identifiers = {}
        for number in range(3):
            file = tmp_path / f"id-{number}"
            command = ["docker", "-H", dockerd.address, *options, f"--name=short-{number}", f"--cidfile={file}"]
            subprocess.run([*command, BUSYBOX_IMAGE, "sh", "-c", f"exit {number}"])
            identifiers[number] = file.read_text()
        dockerd.docker("rm", "--force", "seen")
        for identifier in (*identifiers.values(), seen):
            until(lambda identifier=identifier: watch.is_told(identifier), _SECONDS)
        # Whoever was told of once is not told of again.
        dockerd.docker("rename", "there", "last")
        until(lambda: watch.lines(there)[-1]["name"] == "last", _SECONDS)
    for number, identifier in identifiers.items():
        lines = watch.lines(identifier)
        assert watch.changes(identifier) == ["start", "end"]
        assert {(line["runtime"], line["name"]) for line in lines} == {("docker", f"short-{number}")}
        assert lines[-1]["image"] == BUSYBOX_IMAGE
    assert watch.changes(seen) == ["running", "end"]


def test_short_container_of_podman_without_its_service(tmp_path: Path) -> None:
    # A short path: Podman refuses long ones.
    with tempfile.TemporaryDirectory(prefix="bt-") as text, podman_calls(Path(text)) as call:
        there = call("run", "--detach", "--name=there", *PODMAN_LIMITS, PODMAN_IMAGE, "sleep", "1000")
        with watching(tmp_path / "lines", there) as watch:
            command = ("--name=short", *PODMAN_LIMITS, PODMAN_IMAGE, "true")
            identifier = call("run", "--detach", *command)
            until(lambda: watch.is_told(identifier), _SECONDS)
        lines = watch.lines(identifier)
        assert {(line["runtime"], line["name"]) for line in lines} == {("podman", "short")}
        assert watch.changes(identifier) == ["start", "end"]
