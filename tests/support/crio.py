"""Containers as CRI-O lays them out: a real conmon and a real runc, with its command lines, bundles and annotations.

No Debian package has CRI-O. What it writes is taken from its source (``server/container_create_linux.go``,
``internal/oci/runtime_oci.go``, ``pkg/annotations``).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from support.recorder import until
from support.require import require_program
from support.rootfs import make_rootfs

IMAGE = "registry.k8s.io/busybox:1.36"
DIGEST = "registry.k8s.io/busybox@sha256:" + "5" * 64
PAUSE = "registry.k8s.io/pause:3.9"
UID = "3f2c9a40-0000-4000-8000-000000000000"


class Pod:
    """A pod of the namespace ``shop``: its sandbox holds the namespaces that its containers share.

    :param directory: where everything is kept.
    """

    def __init__(self, directory: Path, name: str) -> None:
        require_program("conmon", "conmon")
        self._runc = require_program("runc", "runc")
        self.directory = directory
        self.name = name
        self._root = make_rootfs(directory / "rootfs")
        self._ids: list[str] = []
        for part in ("exits", "runc"):
            (directory / part).mkdir()
        self.sandbox_id, self.sandbox = self._create("POD", ("/bin/sleep", "1000"), 0)

    def create(self, name: str, *command: str) -> tuple[str, int]:
        """Create a container that does not run its program yet; return its id, and its first process."""
        return self._create(name, command, self.sandbox)

    def start(self, identifier: str) -> None:
        subprocess.run([self._runc, "--root", self.directory / "runc", "start", identifier], check=True)

    def wait(self, identifier: str) -> int:
        """Wait for a container's end, and return its exit status."""
        return int(_read(self.directory / "exits" / identifier))

    def remove(self) -> None:
        for identifier in reversed(self._ids):
            subprocess.run(
                [self._runc, "--root", self.directory / "runc", "delete", "--force", identifier], check=False
            )

    def _create(self, name: str, command: tuple[str, ...], shared: int) -> tuple[str, int]:
        identifier = hashlib.sha256(f"{self.directory}{name}".encode()).hexdigest()
        bundle = self.directory / "overlay-containers" / identifier / "userdata"
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(self._configuration(identifier, name, command, shared)))
        full = f"k8s_{name}_{self.name}_shop_{UID}_0"
        options = {
            "-b": bundle,
            "-c": identifier,
            "--exit-dir": self.directory / "exits",
            "-l": bundle / "log",
            "--log-level": "info",
            "-n": full,
            "-P": bundle / "conmon-pidfile",
            "-p": bundle / "pidfile",
            "--persist-dir": bundle,
            "-r": self._runc,
            "--runtime-arg": f"--root={self.directory}/runc",
            "--socket-dir-path": self.directory,
            "-u": identifier,
        }
        words = [str(word) for option in options.items() for word in option]
        with (bundle / "conmon").open("wb") as output:
            subprocess.run(["conmon", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True)
        self._ids.append(identifier)
        pid = int(_read(bundle / "pidfile"))
        return identifier, pid

    def _configuration(self, identifier: str, name: str, command: tuple[str, ...], shared: int) -> dict[str, object]:
        sandbox = name == "POD"
        labels = {
            "io.kubernetes.container.name": name,
            "io.kubernetes.pod.name": self.name,
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.uid": UID,
        }
        notes = {
            "io.container.manager": "cri-o",
            "io.kubernetes.cri-o.ContainerType": "sandbox" if sandbox else "container",
            "io.kubernetes.cri-o.Name": f"k8s_{name}_{self.name}_shop_{UID}_0",
            "io.kubernetes.cri-o.ImageName": PAUSE if sandbox else IMAGE,
            "io.kubernetes.cri-o.ImageRef": PAUSE if sandbox else DIGEST,
            "io.kubernetes.cri-o.Labels": json.dumps(labels),
            "io.kubernetes.cri-o.SandboxID": identifier if sandbox else self.sandbox_id,
        }
        own = ("pid", "mount", "cgroup", *(("ipc", "uts", "network") if sandbox else ()))
        joined = {"ipc": "ipc", "uts": "uts", "network": "net"} if shared else {}
        namespaces = [
            *({"type": kind} for kind in own),
            *({"type": kind, "path": f"/proc/{shared}/ns/{file}"} for kind, file in joined.items()),
        ]
        return {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": list(command), "env": ["PATH=/bin"], "cwd": "/"},
            "root": {"path": str(self._root)},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "annotations": notes,
            "linux": {"cgroupsPath": f"/kubepods/besteffort/pod{UID}/crio-{identifier}", "namespaces": namespaces},
        }


def _read(file: Path) -> str:
    """Return what a file holds as soon as it does."""
    until(lambda: file.exists() and file.read_text())
    return file.read_text()
