"""What can fail while containers are watched: it is told of once, and the others keep their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from boxtrace.containers import Container
from boxtrace.containers.lowlevel import Runc
from boxtrace.containers.proc import pid_ns_ancestors
from boxtrace.containers.runtime import RuntimeContainer
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.watch import ContainerWatch
from support.recorder import until
from support.require import require_root

LIMITED = """
import sys, time
from pathlib import Path
from boxtrace.containers.lowlevel import Crun
from boxtrace.containers.watch import ContainerWatch
with ContainerWatch(None, (), engines={}, runtimes=[Crun((sys.argv[1],))], warn=print, look_seconds=0.1):
    time.sleep(1)
"""


class Broken:
    """A runtime the files of which cannot be understood at all."""

    name = "broken"

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        raise RecursionError("too deep")


class Half:
    """A runtime that tells one container, and then of nothing that could be one."""

    name = "half"

    def containers(self, processes: ProcessTable) -> Iterator[RuntimeContainer]:  # type: ignore[override]
        yield RuntimeContainer("whole", "whole", "running", os.getpid())
        yield None  # type: ignore[misc]


def test_one_runtime_fails_and_the_others_are_watched(tmp_path: Path) -> None:
    records: list[Container] = []
    warnings: list[str] = []
    runc = Runc((str(tmp_path / "runc"),))
    runtimes = [Broken(), Half(), runc]
    with ContainerWatch(records.extend, engines={}, runtimes=runtimes, look_seconds=0.05, warn=warnings.append):
        until(lambda: warnings)
        time.sleep(0.5)
        state = tmp_path / "runc/late"
        state.mkdir(parents=True)
        (state / "state.json").write_text(f'{{"init_process_pid": {os.getpid()}}}')
        until(lambda: {"late", "whole"} <= {item.name for item in records})
    assert len(warnings) == len(set(warnings)) == 2
    assert "containers of broken: RecursionError: too deep" in warnings[0]
    assert "half" in warnings[1]


def test_what_takes_the_news_fails_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    calls: list[list[str]] = []

    def record(containers: Iterable[Container]) -> None:
        calls.append([item.name for item in containers])
        if len(calls) == 1:
            raise KeyError("unexpected")

    root = tmp_path / "runc"
    with ContainerWatch(record, engines={}, runtimes=[Runc((str(root),))], look_seconds=0.05, warn=warnings.append):
        for name in ("first", "second"):
            (root / name).mkdir(parents=True)
            (root / name / "state.json").write_text(f'{{"init_process_pid": {os.getpid()}}}')
            until(lambda name=name: any(name in call for call in calls))  # type: ignore[misc]
    assert calls[0] == ["first"]
    assert len(warnings) == 1 and "KeyError" in warnings[0]


def test_directory_of_a_runtime_that_comes_and_goes_all_the_time(tmp_path: Path) -> None:
    warnings: list[str] = []
    root = tmp_path / "runc"
    records: list[Container] = []
    with ContainerWatch(
        records.extend, engines={}, runtimes=[Runc((str(root),))], look_seconds=0.01, warn=warnings.append
    ):
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            (root / "box").mkdir(parents=True)
            (root / "box/state.json").write_text("{")
            (root / "box/state.json").unlink()
            (root / "box").rmdir()
            root.rmdir()
        (root / "stays").mkdir(parents=True)
        (root / "stays/state.json").write_text(f'{{"init_process_pid": {os.getpid()}}}')
        until(lambda: [item for item in records if item.name == "stays"])
    assert warnings == []


@pytest.mark.parametrize(("limit", "word"), [("watches", "no more inotify watches"), ("instances", "OSError")])
def test_kernel_that_gives_no_more_watches(tmp_path: Path, limit: str, word: str) -> None:
    """In a user namespace, which has limits of its own."""
    require_root()
    (tmp_path / "crun").mkdir()
    script = f'echo 0 >/proc/sys/user/max_inotify_{limit}; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", LIMITED, str(tmp_path / "crun")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and word in done.stdout, done.stdout


def test_process_that_is_not_ours_has_no_ancestors() -> None:
    """The kernel refuses in the same way when a process ends while the link to its namespace is followed."""
    require_root()
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            Path("/proc/1/ns/pid").read_bytes()
        assert pid_ns_ancestors(1) is None
    finally:
        os.seteuid(0)
