"""A Docker daemon of its own, with its images made from the host's busybox and redis-server."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.require import missing, require_program, require_root
from support.rootfs import make_rootfs

BUSYBOX_IMAGE = "boxtrace/busybox:test"
REDIS_IMAGE = "boxtrace/redis:test"


def end_daemon(process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon to end, and see to it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Dockerd:
    """The daemon: ``docker(...)`` runs a command of its client, ``run(...)`` starts a container."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"unix://{directory}/docker.sock"
        self._log = (directory / "log").open("wb")
        options = [
            f"--data-root={directory}/data",
            f"--exec-root={directory}/exec",
            f"--pidfile={directory}/pid",
            f"--host={self.address}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",
        ]
        self.process = subprocess.Popen(["dockerd", *options], stdout=self._log, stderr=self._log)
        self._containers: list[str] = []

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._client("version") == 0:
                return
            time.sleep(0.1)
        tail = (self.directory / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"dockerd does not answer:\n{tail}")

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(["docker", "-H", self.address, *arguments], input=stdin, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode().strip()

    def run(self, name: str, *arguments: str, image: str = BUSYBOX_IMAGE, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background; return its id."""
        self._containers.append(name)
        network = () if "--network=host" in options else ("--network=none",)
        return self.docker("run", "--detach", *network, f"--name={name}", *options, image, *arguments)

    def remove_containers(self) -> None:
        for name in self._containers:
            deadline = time.monotonic() + 60
            while self._client("inspect", name) == 0 and time.monotonic() < deadline:
                self._client("rm", "--force", name)
        self._containers.clear()

    def _client(self, *arguments: str) -> int:
        return subprocess.run(["docker", "-H", self.address, *arguments], capture_output=True).returncode

    def stop(self) -> None:
        self.remove_containers()
        end_daemon(self.process)
        self._log.close()

    def import_image(self, name: str, root: Path) -> None:
        """Make an image of a root file system."""
        archive = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
        self.docker("import", "-", name, stdin=archive)


def _import_image(daemon: Dockerd, name: str, programs: tuple[Path, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=daemon.directory) as text:
        daemon.import_image(name, make_rootfs(Path(text), programs))


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[Dockerd]:
    """One daemon for the whole run, with the busybox image."""
    require_root()
    require_program("dockerd", "docker.io")
    require_program("docker", "docker.io")
    if not os.access("/sys/fs/cgroup", os.W_OK):
        missing("cgroups are not writable: no Docker daemon can run here")
    # A short path: a Unix socket's name may have 107 characters, and containerd's is deep below.
    with tempfile.TemporaryDirectory(prefix="btd-", ignore_cleanup_errors=True) as text:
        daemon = Dockerd(Path(text))
        try:
            daemon.wait_until_ready()
            _import_image(daemon, BUSYBOX_IMAGE, ())
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def dockerd(docker_daemon: Dockerd) -> Iterator[Dockerd]:
    """The daemon with no container in it; containers are removed afterwards. Nobody tells boxtrace where it listens."""
    yield docker_daemon
    docker_daemon.remove_containers()


@pytest.fixture(scope="session")
def redis_image(docker_daemon: Dockerd) -> str:
    """Name of an image with the host's redis-server."""
    program = require_program("redis-server", "redis-server")
    _import_image(docker_daemon, REDIS_IMAGE, (Path(program),))
    return REDIS_IMAGE
