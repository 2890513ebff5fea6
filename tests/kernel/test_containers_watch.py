"""``boxtrace containers --watch``: lines in a pipe, a table on a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.recorder import BOXTRACE, until

_SECONDS = 30


def read_until(descriptor: int, pattern: str) -> str:
    """Return what can be read until it matches."""
    deadline = time.monotonic() + _SECONDS
    text = ""
    while not re.search(pattern, text, re.DOTALL):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no {pattern!r} in {text!r}"
        text += os.read(descriptor, 65536).decode()
    return text


def test_a_line_for_each_change_in_a_pipe(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    demo_container("there", "sleep", "100")
    output = tmp_path / "lines"
    with (
        output.open("w") as file,
        subprocess.Popen([*BOXTRACE, "containers", "--watch", "--json"], stdout=file) as watch,
    ):

        def told(name: str) -> list[str]:
            lines = [json.loads(line) for line in output.read_text().splitlines()]
            return [line["change"] for line in lines if line["name"] == name]

        try:
            until(lambda: told("there") == ["running"], _SECONDS)
            started = demo_container("comes", "sleep", "100")
            until(lambda: told("comes")[:1] == ["start"], _SECONDS)
            started.stop()
            until(lambda: told("comes")[-1:] == ["end"], _SECONDS)
            watch.send_signal(signal.SIGINT)
            assert watch.wait(_SECONDS) == 0
        finally:
            watch.kill()
    (first, *_) = [line for line in map(json.loads, output.read_text().splitlines()) if line["name"] == "comes"]
    assert first["attributes"]["process.pid"] == first["init_pid"] == started.init_pid


def test_what_cannot_be_watched_is_told(tmp_path: Path) -> None:
    """In a user namespace, which has limits of its own."""
    script = 'echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh", *BOXTRACE, "containers", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as watch:
        try:
            assert watch.stderr is not None
            read_until(watch.stderr.fileno(), r"warning: directories of runc, crun and containerd: OSError")
            watch.send_signal(signal.SIGINT)
            assert watch.wait(_SECONDS) == 0
        finally:
            watch.kill()


def test_a_table_on_a_terminal(demo_container: Callable[..., Any]) -> None:
    master, slave = pty.openpty()
    # High enough for whatever else runs here: what does not fit is cut off.
    environment = {**os.environ, "COLUMNS": "120", "LINES": "10000", "TERM": "xterm"}
    with subprocess.Popen(
        [*BOXTRACE, "containers", "--watch", "-o", "name,procs"], stdout=slave, stderr=slave, env=environment
    ) as watch:
        os.close(slave)
        try:
            read_until(master, "NAME")
            container = demo_container("shown", "sleep", "100")
            read_until(master, r"shown +1\b")
            container.stop()
            # Drawn again, without it.
            read_until(master, r"NAME(?:(?!shown).)*\Z")
            watch.send_signal(signal.SIGINT)
            with suppress(OSError):  # the end of a terminal
                read_until(master, r"(?!)")
            assert watch.wait(_SECONDS) == 0
        finally:
            watch.kill()
            os.close(master)


def test_of_a_trace_there_is_nothing_to_watch(tmp_path: Path) -> None:
    failed = subprocess.run([*BOXTRACE, "containers", "--watch", str(tmp_path)], capture_output=True, text=True)
    assert failed.returncode == 2 and "--watch is for the containers of this host" in failed.stderr
