"""strace as oracle: the system calls of real programs, call by call, with their arguments and results."""

import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from strace_text import Call, arguments, parse

from boxtrace.kernel.machine import machine_syscalls
from boxtrace.trace import open_trace
from support.require import require_program, require_root

# What strace calls otherwise than the kernel's function is called.
NAMES = {
    "fstat": "newfstat",
    "stat": "newstat",
    "lstat": "newlstat",
    "uname": "newuname",
    "sendfile": "sendfile64",
    "umount2": "umount",
}
# Calls of which strace prints the result otherwise: it does not return, or it is printed as what it means.
NO_RESULT = frozenset({"exit_group", "exit", "rt_sigreturn"})
# Calls of which strace leaves out the arguments that the operation does not use: how many stand in their place.
IN_PLACE = {"futex": 4}


@dataclass
class Recorded:
    """One call as boxtrace recorded it."""

    name: str
    entry: dict[str, Any]
    exit: dict[str, Any] | None = None


@dataclass
class Both:
    """What both saw, by thread."""

    strace: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    boxtrace: dict[int, list[Recorded]] = field(default_factory=lambda: defaultdict(list))


def trace_both(directory: Path, *command: str) -> Both:
    """Run a command under strace, and record the two."""
    require_root()
    text, trace = directory / "strace", directory / "trace"
    strace = [require_program("strace", "strace"), "-f", "-X", "raw", "-s", "4096", "-o", str(text), *command]
    recorder = [sys.executable, "-m", "boxtrace", "record", "--quiet", "-o", str(trace), "-e", "syscall_*"]
    subprocess.run([*recorder, "--", *strace], check=True, stdout=subprocess.DEVNULL, timeout=120)
    both = Both()
    for call in parse(text.read_text(errors="surrogateescape")):
        both.strace[call.tid].append(call)
    for event in open_trace(trace).events():
        tid = event["tid"]
        if tid not in both.strace:
            continue
        calls = both.boxtrace[tid]
        if event.name.startswith("syscall_entry_"):
            calls.append(Recorded(event.name.removeprefix("syscall_entry_"), dict(event.payload)))
        elif event.name.startswith("syscall_exit_") and calls and calls[-1].exit is None:
            calls[-1].exit = dict(event.payload)
    for tid, calls in both.boxtrace.items():
        # strace's own child is recorded before strace looks: what it does until the command's execve.
        if both.strace[tid][0].name == "execve":
            first = next(index for index, call in enumerate(calls) if call.name == "execve")
            both.boxtrace[tid] = calls[first:]
    return both


def same(ours: Any, theirs: int | bytes, size: int) -> bool:
    """Whether a value is the same; what strace prints as text and boxtrace leaves an address cannot be compared."""
    if isinstance(ours, str):
        return isinstance(theirs, bytes) and ours.encode(errors="surrogateescape") == theirs
    return isinstance(theirs, bytes) or not isinstance(ours, int) or (ours - theirs) % (1 << 8 * size) == 0


def differences(both: Both) -> list[str]:
    """Return what differs: sequences of calls first, then results and arguments."""
    table = {call.name: call for call in machine_syscalls(lambda message: None)[0].values()}
    found = []
    for tid, theirs in both.strace.items():
        ours = both.boxtrace.get(tid, [])
        if theirs[-1].result is None and len(theirs) == len(ours) + 1:
            # strace stops a thread before its call is entered; one that is killed there never enters it.
            theirs = theirs[:-1]
        names = [NAMES.get(call.name, call.name) for call in theirs]
        if names != [call.name for call in ours]:
            found.append(f"{tid}: {names} != {[call.name for call in ours]}")
            continue
        for call, recorded in zip(theirs, ours, strict=True):
            result = recorded.exit["ret"] if recorded.exit is not None else None
            # strace prints no result of a call that restarts.
            if call.name not in NO_RESULT and call.result is not None and result != call.result:
                found.append(f"{tid} {call}: result {result}")
            declared = table[recorded.name].arguments
            values = arguments(call.arguments)[: IN_PLACE.get(call.name)]
            for argument, value in zip(declared, values, strict=False):
                if value is None or argument.name not in recorded.entry:
                    continue
                if not same(recorded.entry[argument.name], value, argument.size):
                    found.append(f"{tid} {call}: {argument.name} is {recorded.entry[argument.name]!r}, not {value!r}")
    return found


def programs(directory: Path) -> dict[str, tuple[str, ...]]:
    (directory / "in").mkdir()
    for index in range(5):
        (directory / "in" / f"file{index}").write_text("text\n" * index)
    script = "for f in *; do cat $f | wc -l; done; test -e nothing || (cd / && ls > /dev/null); kill -0 $$"
    python = (
        "import os, subprocess, tempfile\n"
        "with tempfile.TemporaryDirectory() as d:\n"
        "    open(d + '/x', 'w').write('x'); os.rename(d + '/x', d + '/y'); os.chmod(d + '/y', 0o600)\n"
        "    os.symlink('y', d + '/z'); print(os.readlink(d + '/z'), os.stat(d + '/z').st_size)\n"
        "print(subprocess.run(['true']).returncode)\n"
    )
    return {
        "shell": ("sh", "-c", f"cd {directory}/in; {script}"),
        "python": (sys.executable, "-I", "-c", python),
        "tar": ("tar", "-C", str(directory), "-czf", str(directory / "out.tar.gz"), "in"),
        "git": ("git", "init", "--quiet", str(directory / "repository")),
    }


@pytest.mark.parametrize("name", ["shell", "python", "tar", "git"])
def test_calls_agree(name: str, tmp_path: Path) -> None:
    both = trace_both(tmp_path, *programs(tmp_path)[name])
    assert sum(map(len, both.strace.values())) > 50
    assert differences(both) == []


def test_calls_of_curl_agree(tmp_path: Path) -> None:
    require_program("curl", "curl")
    (tmp_path / "page").write_text("hello")
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        both = trace_both(tmp_path, "curl", "-s", f"http://127.0.0.1:{server.server_address[1]}/page")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert differences(both) == []
    connects = [
        call
        for calls in both.boxtrace.values()
        for call in calls
        if call.name == "connect" and call.entry["family"] == 2
    ]
    assert [call.entry["dport"] for call in connects] == [server.server_address[1]]
    assert connects[0].entry["v4addr"] == [127, 0, 0, 1]


def test_calls_of_redis_agree(tmp_path: Path) -> None:
    redis = require_program("redis-server", "redis-server")
    client = require_program("redis-cli", "redis-tools")
    socket = tmp_path / "redis.sock"
    script = (
        f"{redis} --port 0 --unixsocket {socket} --save '' --dir {tmp_path} > /dev/null & "
        f"until test -S {socket}; do sleep 0.1; done; "
        f"{client} -s {socket} set key value; {client} -s {socket} get key; {client} -s {socket} shutdown nosave; wait"
    )
    both = trace_both(tmp_path, shutil.which("sh") or "sh", "-c", script)
    assert sum(map(len, both.strace.values())) > 1000
    assert differences(both) == []


def test_arguments_of_execve(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    environment = {**os.environ, "BOXTRACE_TEST": "42"}
    command = ["/bin/sh", "-c", "exec /bin/true one 'two words' ''"]
    recorder = [sys.executable, "-m", "boxtrace", "record", "--quiet", "-o", str(trace), "--environment"]
    require_root()
    subprocess.run([*recorder, "-e", "syscall_entry_execve", "--", *command], check=True, env=environment)
    calls = [event for event in open_trace(trace).events() if event.name == "syscall_entry_execve"]
    assert [call["args"] for call in calls] == [command, ["/bin/true", "one", "two words", ""]]
    assert all("BOXTRACE_TEST=42" in call["environment"] for call in calls)
