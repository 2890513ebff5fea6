"""A containerd of its own (not Docker's), with an image made from the host's busybox, driven by ctr."""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dockerd import end_daemon
from support.require import require_program, require_root
from support.rootfs import make_rootfs

IMAGE = "boxtrace.test/busybox:1"
NAMESPACE = "apps"


class ContainerdDaemon:
    """The daemon: ``ctr(...)`` runs a command of its client in the namespace ``apps``."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "containerd.sock"
        self.state = directory / "state"
        self.digest = ""
        self._directory = directory
        (directory / "config.toml").write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{self.state}"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self.socket}"\n'
        )
        self._log = (directory / "log").open("wb")
        command = ["containerd", "--config", str(directory / "config.toml")]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(["ctr", "-a", self.socket, "version"], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"containerd does not answer:\n{(self._directory / 'log').read_text(errors='replace')}")

    def ctr(self, *arguments: str | Path) -> str:
        command = ["ctr", "-a", self.socket, "-n", NAMESPACE, *arguments]
        with tempfile.TemporaryFile("w+") as output:  # a container that runs on keeps a pipe open
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            output.seek(0)
            text = output.read()
        if done.returncode != 0:
            raise RuntimeError(f"ctr {' '.join(map(str, arguments))}: {text}")
        return text.strip()

    def start(self, name: str, *command: str, options: tuple[str, ...] = ()) -> int:
        """Start a container in the background; return its pid on the host, 0 when it has ended already."""
        self.ctr("run", "--snapshotter=native", "--detach", *options, IMAGE, name, *command)
        return self.pids().get(name, 0)

    def pids(self) -> dict[str, int]:
        """The pid of each container's task, as ctr tells it."""
        rows = [line.split() for line in self.ctr("task", "ls").splitlines()[1:]]
        return {row[0]: int(row[1]) for row in rows}

    def remove(self, name: str) -> None:
        """Kill a container, and remove its task and itself; nothing of that may be there."""
        for what in (("task", "kill", "-s", "9", name), ("task", "rm", "--force", name), ("container", "rm", name)):
            subprocess.run(["ctr", "-a", self.socket, "-n", NAMESPACE, *what], capture_output=True)

    def stop(self) -> None:
        names = self.ctr("container", "ls", "-q").split() if self.process.poll() is None else []
        for name in names:
            self.remove(name)
        end_daemon(self.process)
        self._log.close()

    def import_image(self) -> None:
        """Make an image of busybox; archives are of the form that ``docker save`` writes."""
        layer, archive = self._directory / "layer.tar", self._directory / "image.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(make_rootfs(self._directory / "rootfs"), arcname=".")
        content = layer.read_bytes()
        configuration = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
            }
        ).encode()
        name = f"{hashlib.sha256(configuration).hexdigest()}.json"
        manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
        with tarfile.open(archive, "w") as tar:
            for member, data in ((name, configuration), ("manifest.json", manifest), ("layer.tar", content)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        self.ctr("image", "import", "--snapshotter=native", archive)
        listed = self.ctr("image", "ls", f"name=={IMAGE}").splitlines()[1].split()
        self.digest = next(word for word in listed if word.startswith("sha256:"))


@pytest.fixture(scope="session")
def containerd_daemon() -> Iterator[ContainerdDaemon]:
    require_root()
    for program in ("containerd", "ctr"):
        require_program(program, "containerd")
    # A short path: the sockets of its shims have names of 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="btc-", ignore_cleanup_errors=True) as text:
        daemon = ContainerdDaemon(Path(text))
        try:
            daemon.wait_until_ready()
            daemon.import_image()
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def containerd(containerd_daemon: ContainerdDaemon) -> Iterator[ContainerdDaemon]:
    """The daemon with no container in it; containers are removed afterwards."""
    yield containerd_daemon
    for name in containerd_daemon.ctr("container", "ls", "-q").split():
        containerd_daemon.remove(name)
