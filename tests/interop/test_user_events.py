"""Event types of applications that are enabled and disabled while a recording runs, by the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boxtrace.trace import open_trace
from support.require import require_root
from support.user import build
from support.user_trace import recording

BOXTRACE = [sys.executable, "-m", "boxtrace"]
PROGRAM = """
#include <boxtrace.h>
#include <stdio.h>
#include <unistd.h>
BOXTRACE_EVENT(app, one, (string, phase))
BOXTRACE_EVENT(app, two, (string, phase))
BOXTRACE_EVENT(lib, three, (string, phase))
static int as_told(const char *wanted) {
    return boxtrace_enabled(app, one) == (wanted[0] == '1') && boxtrace_enabled(app, two) == (wanted[1] == '1') &&
           boxtrace_enabled(lib, three) == (wanted[2] == '1');
}
int main(void) {
    char phase[64];
    while (scanf("%63s", phase) == 1) {
        while (!as_told(phase))
            usleep(1000);
        boxtrace_app_one(phase);
        boxtrace_app_two(phase);
        boxtrace_lib_three(phase);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
"""


def run(*arguments: str) -> str:
    done = subprocess.run([*BOXTRACE, *arguments], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def do_phase(process: subprocess.Popen[str], phase: str) -> None:
    """Let the program emit each of its events once, and wait until it has."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(phase + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def finish(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0


def test_enabled_and_disabled_while_recording(tmp_path: Path) -> None:
    require_root()
    (tmp_path / "program.c").write_text(PROGRAM)
    program = build(tmp_path / "program.c", tmp_path / "program")
    steps = [
        ("100", ("enable-event", "--list"), "rules app:one\nenabled app:one\ndisabled app:two lib:three\n"),
        ("110", ("enable-event", "app:*"), "rules app:one app:*\nenabled app:one app:two\ndisabled lib:three\n"),
        ("011", ("enable-event", "lib:t*"), ""),
        ("000", ("disable-event", "*"), "rules !*\ndisabled app:one app:two lib:three\n"),
        ("101", ("enable-event", "lib:three", "app:one"), ""),
    ]
    trace = tmp_path / "trace"
    with (
        recording(trace, "-e", "syscall_entry_getppid", "--no-state-dump", user="app:one") as pid,
        subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        for phase, (command, *arguments), shown in steps:
            if phase == "011":
                run("disable-event", "-r", str(pid), "app:one")
            said = run(command, "-r", str(pid), *arguments)
            assert said == shown or not shown
            do_phase(process, phase)
        finish(process)
    opened = open_trace(trace)
    names = ["app:one", "app:two", "lib:three"]
    recorded = [(event["phase"], event.name) for event in opened.events() if event.name in names]
    expected = [(phase, name) for phase, *_ in steps for name, on in zip(names, phase, strict=True) if on == "1"]
    assert recorded == expected
    assert not opened.failures and not list(opened.losses())


def test_what_is_tracked_is_asked_of_programs_that_run(tmp_path: Path) -> None:
    """A program that is connected is let go when it is not wanted any more, and comes back when it is."""
    require_root()
    (tmp_path / "program.c").write_text(PROGRAM)
    program = build(tmp_path / "program.c", tmp_path / "program")
    trace = tmp_path / "trace"
    steps = [
        ("111", "untrack", "uid"),
        ("000", "track", "pid", "!{}"),
        ("111", "untrack", "pid"),
        ("000", "track", "uid", "9"),
    ]
    with (
        subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        recording(trace, "-e", "syscall_entry_getppid", "--no-state-dump", "--uid", "12345", user="*") as pid,
    ):
        for phase, command, *words in steps:
            run(command, "-r", str(pid), *(word.format(process.pid) for word in words))
            do_phase(process, phase)
        finish(process)
    opened = open_trace(trace)
    recorded = [(event["phase"], event.name) for event in opened.events() if ":" in event.name]
    assert recorded == [("111", name) for _ in range(2) for name in ("app:one", "app:two", "lib:three")]
    assert not list(opened.losses())


@pytest.mark.parametrize(
    ("user", "arguments", "said"),
    [
        ("", ("enable-event", "app:*"), "takes no events of applications"),
        ("app:*", ("enable-event", "!app:one"), "'!app:one' is no pattern"),
        ("app:*", ("enable-event",), "either --list, or names"),
        ("app:*", ("enable-event", "--list", "app:*"), "either --list, or names"),
        ("app:*", ("disable-event",), "Missing argument"),
    ],
)
def test_what_means_nothing_changes_nothing(tmp_path: Path, user: str, arguments: tuple[str, ...], said: str) -> None:
    require_root()
    with recording(tmp_path / "trace", "-e", "syscall_entry_getppid", "--no-state-dump", user=user) as pid:
        command, *rest = arguments
        wrong = subprocess.run([*BOXTRACE, command, "-r", str(pid), *rest], capture_output=True, text=True)
        assert wrong.returncode != 0 and said in wrong.stderr
        if user:
            assert run("enable-event", "-r", str(pid), "--list").splitlines()[0] == "rules app:*"


def test_a_second_recording_of_applications_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    require_root()
    few = ("-e", "syscall_entry_getppid", "--no-state-dump")
    with recording(tmp_path / "trace", *few, user="app:*"):
        command = [*BOXTRACE, "record", "--user", "lib:*", *few, "-o", str(tmp_path / "second"), "--", "true"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode != 0 and "another recording with --user may be running" in second.stderr
    assert not (tmp_path / "second").exists()
