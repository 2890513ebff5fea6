"""Bars show how far long work has come: on standard error, if that is a terminal, and nowhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from support.ctf_sample import write_sample

COMMANDS = {
    "view": (["view"], b"writing"),
    "view-json": (["view", "--json"], b"writing"),
    "view-csv": (["view", "--csv"], b"writing"),
    "view-names": (["view", "--names"], b"writing"),
    "info": (["info"], b"reading"),
    "sql": (["sql", "select count(*) from sched_process_fork"], b"reading"),
    "ctf1": (["convert", "--to", "ctf1"], b"copying"),
    "ctf2": (["convert", "--to", "ctf2", "--event", "nothing"], b"converting"),
    "parquet": (["convert", "--to", "parquet"], b"converting"),
    "json": (["convert", "--to", "json"], b"converting"),
}


def run(name: str, directory: Path, stderr: int) -> None:
    """Run a command whose output goes to a file."""
    words, _ = COMMANDS[name]
    trace = write_sample(directory / "trace")
    arguments = [words[0], str(trace), *([str(directory / "out")] if words[0] == "convert" else []), *words[1:]]
    command = [sys.executable, "-c", "from boxtrace.cli.main import main; main()", *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with (directory / "stdout").open("wb") as output:
        subprocess.run(command, stdout=output, stderr=stderr, env=environment, check=True, timeout=600)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bar_on_a_terminal(tmp_path: Path, name: str) -> None:
    ours, theirs = pty.openpty()
    try:
        run(name, tmp_path, theirs)
        assert COMMANDS[name][1] in os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_bar_in_a_file(tmp_path: Path, name: str) -> None:
    with (tmp_path / "stderr").open("wb") as file:
        run(name, tmp_path, file.fileno())
    assert (tmp_path / "stderr").read_bytes() == b""
    assert (tmp_path / "stdout").read_bytes() or COMMANDS[name][0][0] == "convert"
