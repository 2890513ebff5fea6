"""System calls of either width, known and unknown, those that a filter forbids and those that never return."""

import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.recorder import Recorded, check_valid, record_command
from support.require import missing
from support.workloads import Workload

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the workloads are x86-64 machine code")


@pytest.fixture(scope="module")
def odd(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("odd") / "trace"
    recorded = record_command(path, "-e", "*syscall_*", "--no-state-dump", command=[workload("odd_calls")])
    check_valid(recorded)
    return recorded


def test_width_is_that_of_the_call_not_of_the_program(odd: Recorded) -> None:
    names = Counter(event.name for event in odd.events)
    assert names["compat_syscall_entry_getpid"] == names["compat_syscall_exit_getpid"] == 30
    assert names["syscall_entry_getpid"] - names["syscall_exit_getpid"] == 0 and names["syscall_entry_getpid"] >= 20
    assert names["syscall_entry_writev"] == names["compat_syscall_entry_mkdir"] == 0
    pid = odd.named("syscall_exit_getpid")[-1]["ret"]
    assert {event["ret"] for event in odd.named("compat_syscall_exit_getpid")} == {pid}


def test_unknown_numbers_are_recorded_as_they_are(odd: Recorded) -> None:
    entries = Counter(event["id"] for event in odd.named("syscall_entry_unknown"))
    exits = Counter(event["id"] for event in odd.named("syscall_exit_unknown") if event["id"] != -1)
    x32 = 0x40000000 + 39
    assert entries == exits == Counter([*range(900, 906), 100000, -5, x32])
    assert {event["ret"] for event in odd.named("syscall_exit_unknown") if event["id"] > 0} == {-38}
    nine_hundred = next(event for event in odd.named("syscall_entry_unknown") if event["id"] == 900)
    assert list(nine_hundred["args"]) == [1, 2, 3, 4, 5, 6]
    compat = Counter(event["id"] for event in odd.named("compat_syscall_entry_unknown"))
    assert compat == Counter({1000: 5}) == Counter(event["id"] for event in odd.named("compat_syscall_exit_unknown"))


def test_return_from_a_signal_handler_exits_without_a_number(odd: Recorded) -> None:
    """The kernel restores the interrupted registers: the exit of rt_sigreturn is that of number -1, as in LTTng."""
    (returning,) = odd.named("syscall_entry_rt_sigreturn")
    later = [
        event for event in odd.events if event["tid"] == returning["tid"] and event.timestamp > returning.timestamp
    ]
    assert (later[0].name, later[0]["id"]) == ("syscall_exit_unknown", -1)
    assert odd.named("syscall_exit_rt_sigreturn") == []


def test_call_that_seccomp_forbids_has_an_exit_only(odd: Recorded) -> None:
    """Seccomp is asked before the tracepoint of the entry: only the exit, with what the filter returns, is seen."""
    assert odd.named("syscall_entry_getuid") == []
    assert [event["ret"] for event in odd.named("syscall_exit_getuid")] == [-38] * 4


def test_program_of_32_bits(workload: Workload, tmp_path: Path) -> None:
    try:
        program = workload("thirty_two", "-m32", "-nostdlib", "-fno-pic", "-no-pie", "-fno-stack-protector")
    except subprocess.CalledProcessError:
        missing("the C compiler makes no 32-bit programs")
    recorded = record_command(tmp_path / "trace", "-e", "*syscall_*", "--no-state-dump", command=[program])
    assert recorded.status == 9, recorded.stderr
    check_valid(recorded)
    own = [event for event in recorded.events if event.context["procname"] == "thirty_two"]
    names = Counter(event.name for event in own)
    assert names.pop("syscall_exit_execve", 0) + names.pop("compat_syscall_exit_execve", 0) <= 1
    assert names == {
        "compat_syscall_entry_getpid": 25,
        "compat_syscall_exit_getpid": 25,
        "compat_syscall_entry_close": 1,
        "compat_syscall_exit_close": 1,
        "compat_syscall_entry_mmap_pgoff": 1,
        "compat_syscall_exit_mmap_pgoff": 1,
        "compat_syscall_entry_exit": 1,
    }
    (closing,) = recorded.named("compat_syscall_entry_close")
    assert closing["fd"] == 0x7123
    (leaving,) = recorded.named("compat_syscall_entry_exit")
    assert leaving["error_code"] == 9


def test_texts_that_a_call_returns(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("somewhere/else")
    script = f"import os; os.readlink({str(tmp_path / 'link')!r}); os.chdir({str(tmp_path)!r}); os.getcwd()"
    rules = ("-e", "syscall_*_readlink*", "-e", "syscall_*_getcwd", "--no-state-dump")
    recorded = record_command(tmp_path / "trace", *rules, command=[sys.executable, "-Sc", script])
    check_valid(recorded)
    links = [event for event in recorded.named("syscall_exit_readlink", "syscall_exit_readlinkat") if event["ret"] > 0]
    assert (links[-1]["target"], links[-1]["ret"]) == ("somewhere/else", 14)
    assert recorded.named("syscall_exit_getcwd")[-1]["path"] == str(tmp_path)
