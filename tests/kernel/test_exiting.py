"""What is read of a process while it ends is not taken for what it was."""

import os
import subprocess
import sys
from pathlib import Path

from test_births import cgroup, cgroup_directories

from boxtrace.containers.cgroups import runtime_hierarchy
from boxtrace.containers.proc import read_process

ENDS = 100
PROGRAM = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
os.write(1, b".")
"""


def test_cgroups_of_a_process_that_ends() -> None:
    hierarchy, name = runtime_hierarchy(), f"ends-{os.getpid()}"
    seen = 0
    with cgroup(cgroup_directories()[hierarchy] / name) as directory:
        for _ in range(ENDS):
            command = [sys.executable, "-ISc", PROGRAM, str(directory)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None and process.stdout.read(1) == b"."
                while (read := read_process(process.pid)) is not None and not read.is_exiting:
                    (path,) = [each.path for each in read.cgroups if each.hierarchy == hierarchy]
                    assert Path(path).name == name
                    seen += 1
    assert seen >= ENDS
