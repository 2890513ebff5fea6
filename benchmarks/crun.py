"""Many containers of crun, started as fast as it can."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CrunBundles", "Ended"]

# crun refuses cgroups of both versions side by side: it is shown those of version 1 alone.
_ALONE = """
mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified
for name in "$@"; do
    began=$EPOCHREALTIME
    crun run --bundle "$BUNDLES/$name" "$name" </dev/null >/dev/null 2>&1
    code=$? ended=$EPOCHREALTIME
    told+="$name $code $((${ended/./} - ${began/./})) "  # who would read a line at once would take a CPU
done
echo "$told"
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended, and how long it took from the start of its runtime to the end of that, in ms."""

    code: int
    took: float


class CrunBundles:
    """Bundles whose root file systems have busybox.

    :param directory: where they are put; it must not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        self._busybox = directory / "busybox"
        shutil.copy2(shutil.which("busybox") or "/bin/busybox", self._busybox)

    def _write(self, name: str, code: int) -> None:
        # Not one for all: crun replaces links in ``dev``, and fails where another one has just made them.
        root = self._directory / name / "rootfs"
        for place in ("bin", "dev", "proc", "sys"):
            (root / place).mkdir(parents=True)
        (root / "bin/sh").hardlink_to(self._busybox)
        kinds = ("pid", "ipc", "uts", "mount", "network", "cgroup")
        configuration = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", f"exit {code}"],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": str(root)},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"cgroupsPath": f"/{name}", "namespaces": [{"type": kind} for kind in kinds]},
        }
        (self._directory / name / "config.json").write_text(json.dumps(configuration))

    def prepare(self, codes: Mapping[str, int]) -> None:
        """Make a bundle for each name, the container of which will end with the status that it has there."""
        for name, code in codes.items():
            self._write(name, code)

    def run(self, names: Iterable[str], *, at_once: int = 2) -> dict[str, int]:
        """Run the containers of bundles that were prepared; return the exit status of each."""
        return {name: ended.code for name, ended in self.measure(names, at_once=at_once).items()}

    def measure(self, names: Iterable[str], *, at_once: int = 1) -> dict[str, Ended]:
        """Run the containers of bundles that were prepared; return how each ended."""
        names = list(names)
        processes = [
            subprocess.Popen(
                ["unshare", "--mount", "bash", "-c", _ALONE, "crun", *names[part::at_once]],
                stdout=subprocess.PIPE,
                text=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "BUNDLES": str(self._directory)},
            )
            for part in range(at_once)
        ]
        told = iter([word for process in processes for word in process.communicate()[0].split()])
        return {name: Ended(int(code), int(took) / 1000) for name, code, took in zip(told, told, told, strict=True)}
