"""Containers that live 30 ms, ten at a time, while boxtrace records those of their names: how long each takes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.report import format_table, spread
from benchmarks.tracers import recording
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers

__all__ = ["ConcurrentContainers", "format_concurrent", "measure_concurrent"]

_AT_ONCE = 10
_BLOCK = 20
_LIFE = ("sleep", "0.03")
_IMAGE = "boxtrace/bench"
_START_SECONDS = 60.0
_DEMO = Path(__file__).parents[1] / "demo/container.py"

_Command = Callable[[str], Sequence[str]]
"""The command line that runs a container of a name until it ends."""


@dataclass(slots=True)
class ConcurrentContainers:
    """What came of the containers of one starter, in blocks: each one between two that were not recorded.

    :ivar alone_ms: from start to end of each container that was not recorded.
    :ivar recorded_ms: of each that was.
    :ivar more_ms: what the median of a recorded block is more than that of the two blocks beside it.
    :ivar noise_ms: the same of blocks that were not recorded either.
    :ivar named: how many of the recorded ones have their name and an end in the trace.
    :ivar own_cpu_ms: CPU time of boxtrace for each container.
    """

    alone_ms: list[float] = field(default_factory=list)
    recorded_ms: list[float] = field(default_factory=list)
    more_ms: list[float] = field(default_factory=list)
    noise_ms: list[float] = field(default_factory=list)
    named: int = 0
    own_cpu_ms: list[float] = field(default_factory=list)


def measure_concurrent(count: int) -> dict[str, ConcurrentContainers]:
    """Run *count* containers of each starter that is installed while recording, and three times as many without."""
    results = {"the demo's": _measure(lambda name: (sys.executable, str(_DEMO), name, "--", *_LIFE), count)}
    if shutil.which("dockerd") is not None:
        with _docker() as command:
            results["Docker"] = _measure(command, count)
    return results


def _measure(command: _Command, count: int) -> ConcurrentContainers:
    result = ConcurrentContainers()
    _run(command, "warm")
    alone = _run(command, "alone")
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as directory:
        for number in range(count // _BLOCK):
            for is_recorded in (False, True) if number % 2 else (True, False):
                name = f"traced-{number}" if is_recorded else f"same-{number}"
                if is_recorded:
                    trace = Path(directory) / name
                    with recording(trace, "--container", "traced-*", cpu=None) as recorder:
                        before = recorder.cpu_ms()
                        block = _run(command, name)
                        result.own_cpu_ms.append((recorder.cpu_ms() - before) / _BLOCK)
                    result.named += _count_named(trace, name)
                else:
                    block = _run(command, name)
                last, alone = alone, _run(command, f"alone-{number}-{name}")
                (result.more_ms if is_recorded else result.noise_ms).append(median(block) - median(last + alone))
                (result.recorded_ms if is_recorded else result.alone_ms).extend(block)
                result.alone_ms += alone
    return result


def _run(command: _Command, prefix: str) -> list[float]:
    def run(number: int) -> float:
        began = time.monotonic()
        subprocess.run(command(f"{prefix}-{number}"), check=True, capture_output=True)
        return (time.monotonic() - began) * 1000

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(run, range(_BLOCK)))


def _count_named(trace: Path, prefix: str) -> int:
    ended = {row.container.name for row in TraceContainers(open_trace(trace)).rows() if row.end is not None}
    return sum(f"{prefix}-{number}" in ended for number in range(_BLOCK))


@contextmanager
def _docker() -> Iterator[_Command]:
    """Run a Docker daemon that has nothing but an image of busybox."""
    # A short path: a Unix socket's name may have 107 characters, and containerd's is deep below.
    with tempfile.TemporaryDirectory(prefix="btb-", ignore_cleanup_errors=True) as text:
        directory = Path(text)
        host = f"unix://{directory}/docker.sock"
        client = ("docker", f"--host={host}")
        places = [f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
        plain = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        with (directory / "log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd", *places, f"--host={host}", *plain], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while subprocess.run([*client, "version"], capture_output=True).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"dockerd did not start:\n{(directory / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            root = directory / "root"
            (root / "bin").mkdir(parents=True)
            shutil.copy2(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
            (root / "bin" / _LIFE[0]).symlink_to("busybox")
            packed = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
            subprocess.run([*client, "import", "-", _IMAGE], input=packed, check=True, capture_output=True)
            yield lambda name: (*client, "run", "--rm", "--network=none", f"--name={name}", _IMAGE, *_LIFE)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


def format_concurrent(results: dict[str, ConcurrentContainers]) -> str:
    """Return a table."""
    rows = [
        [
            starter,
            spread(result.alone_ms, 1),
            spread(result.recorded_ms, 1),
            spread(result.more_ms, 1),
            spread(result.noise_ms, 1),
            spread(result.own_cpu_ms, 1),
            f"{result.named} of {len(result.recorded_ms)}",
        ]
        for starter, result in results.items()
    ]
    head = [
        "containers",
        "ms alone",
        "ms recorded",
        "more than beside it",
        "unrecorded: more",
        "boxtrace's CPU",
        "named",
    ]
    return format_table(head, rows)
