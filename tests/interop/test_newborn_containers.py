"""Docker's containers that start while recording, from their entrypoint on and by their names."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boxtrace.trace.containers import TraceContainers
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.newborns import RECORDED, check_newborns
from support.recorder import Recorder

PROGRAM = "/bin/usleep"


def run(dockerd: Dockerd, name: str, *options: str) -> None:
    """Run a container of 30 ms to its end."""
    arguments = ("run", "--rm", "--network=none", f"--name={name}", *options, BUSYBOX_IMAGE)
    dockerd.docker(*arguments, PROGRAM, "30000")


SHORT = int(os.environ.get("BOXTRACE_SHORT_CONTAINERS", "40"))
"""How many short ones; set the variable to measure with more."""


def test_short_lives_ten_at_a_time(dockerd: Dockerd, tmp_path: Path) -> None:
    rounds = SHORT // 4
    wanted = [f"web-{number}" for number in range(3 * rounds)]
    mixed = [name for number in range(rounds) for name in (*wanted[3 * number : 3 * number + 3], f"other-{number}")]
    with Recorder(tmp_path / "trace", "--container", "docker:web-*", *RECORDED) as recorder:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda name: run(dockerd, name), mixed))
        recorded = recorder.stop()
    check_newborns(recorded, wanted, PROGRAM)


def test_by_image_and_label(dockerd: Dockerd, tmp_path: Path) -> None:
    options = ("--image", "boxtrace/busybox", "--label", "tier=front*", "--container", "!hidden")
    with Recorder(tmp_path / "trace", *options, *RECORDED) as recorder:
        run(dockerd, "first", "--label=tier=frontend")
        run(dockerd, "second", "--label=tier=backend")
        run(dockerd, "hidden", "--label=tier=frontend")
        recorded = recorder.stop()
    check_newborns(recorded, ["first"], PROGRAM)


def test_a_running_one_is_recorded_with_those_that_come(dockerd: Dockerd, tmp_path: Path) -> None:
    dockerd.run("web-old", "sh", "-c", "while :; do usleep 10000; done")
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        run(dockerd, "web-new")
        recorded = recorder.stop()
    check_newborns(recorded, ["web-new"], PROGRAM, alone=False)
    old = TraceContainers(recorded.trace).selector("web-old")
    assert any(old(event) for event in recorded.named("syscall_entry_nanosleep", "syscall_entry_clock_nanosleep"))


def test_begin_of_one_whose_fork_is_not_recorded(dockerd: Dockerd, tmp_path: Path) -> None:
    dockerd.run("web-old", "sleep", "1000")
    with Recorder(tmp_path / "trace", "--container", "web-*", *RECORDED) as recorder:
        dockerd.run("web-new", "sleep", "1000")
        recorded = recorder.stop()
    rows = {row.container.name: row for row in TraceContainers(recorded.trace).rows()}
    (told,) = {event.timestamp for event in recorded.all_events if event.name == "container_start"}
    begin = rows["web-new"].begin
    assert rows["web-old"].begin is None
    assert begin is not None and 0 < told - begin < 10_000_000_000
