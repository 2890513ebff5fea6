"""``boxtrace containers`` and ``boxtrace pids`` on the live host."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.dockerd import Dockerd


def boxtrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from boxtrace.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_list_agrees_with_docker(dockerd: Dockerd) -> None:
    identifier = dockerd.run("listed", "sh", "-c", "sleep 100 & wait")
    listed = boxtrace("containers")
    assert (listed.returncode, listed.stderr) == (0, "")
    (row,) = [line.split() for line in listed.stdout.splitlines() if " listed " in line]
    init = dockerd.docker("inspect", "-f", "{{.State.Pid}}", "listed")
    image = dockerd.docker("inspect", "-f", "{{.Config.Image}}", "listed")
    assert row[:6] == ["docker", identifier[:12], "listed", image, "running", init]
    assert row[7] == "2"
    (item,) = [item for item in json.loads(boxtrace("containers", "--json").stdout) if item["name"] == "listed"]
    assert (item["id"], item["processes"], item["pid_ns"]) == (identifier, 2, int(row[6]))


def test_pids_agree_with_both_sides(dockerd: Dockerd) -> None:
    dockerd.run("mapped", "sh", "-c", "sleep 111 & sleep 222 & wait")
    deadline = time.monotonic() + 10
    rows: list[dict[str, Any]] = []
    while len(rows) < 3 and time.monotonic() < deadline:
        rows = json.loads(boxtrace("pids", "mapped", "--json").stdout)
    outside = {int(line.split()[0]) for line in dockerd.docker("top", "mapped", "-eo", "pid").splitlines()[1:]}
    script = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"
    inside = dict(line.split(" ", 1) for line in dockerd.docker("exec", "mapped", "sh", "-c", script).splitlines())
    assert {row["host_pid"] for row in rows} == outside
    for row in rows:
        with open(f"/proc/{row['host_pid']}/cmdline") as file:
            assert file.read().replace("\0", " ").strip() == inside[str(row["pid"])].strip()


def test_missing_container_is_an_error_with_near_names(dockerd: Dockerd) -> None:
    dockerd.run("frontend", "sleep", "100")
    failed = boxtrace("pids", "frontent")
    assert failed.returncode == 1 and failed.stdout == ""
    assert "did you mean 'frontend'?" in failed.stderr


def test_user_and_path_of_both_sides_agree_with_docker(dockerd: Dockerd) -> None:
    dockerd.run("owned", "sleep", "300", options=("--user=0:1001",))
    (row,) = json.loads(boxtrace("pids", "owned", "--json").stdout)
    host, own = row["views"]
    inside = [int(dockerd.docker("exec", "owned", "id", flag)) for flag in ("-u", "-g")]
    assert [own["uid"], own["gid"]] == [host["uid"], host["gid"]] == inside == [0, 1001]
    exe = Path(f"/proc/{row['host_pid']}/exe")
    assert own["path"] == str(exe.readlink())
    assert Path(host["path"]).samefile(exe)
    assert own["container_name"] == "owned" and row["attributes"]["process.executable.path"] == own["path"]
    assert row["attributes"]["container.id"] == dockerd.docker("inspect", "-f", "{{.Id}}", "owned")


def test_processes_as_a_tree(dockerd: Dockerd) -> None:
    dockerd.run("grove", "sh", "-c", "sh -c 'sleep 301; true' & wait")
    deadline = time.monotonic() + 10
    lines: list[str] = []
    while len(lines) < 4 and time.monotonic() < deadline:
        lines = boxtrace("ps", "grove", "-o", "pid").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["grove"] * 3
    assert [line.split()[-1] for line in lines] == ["NAME", "sh", "sh", "sleep"]
    indents = [len(line) - len(line.split()[-1]) for line in lines[1:]]
    assert indents == [indents[0], indents[0] + 2, indents[0] + 4]
