"""Names for the numbers of system calls."""

import os

import pytest

from boxtrace.view.symbols import symbol


@pytest.mark.parametrize(
    ("event", "field", "value", "text"),
    [
        ("syscall_entry_openat", "flags", os.O_RDONLY | os.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"),
        ("syscall_entry_openat", "flags", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "O_WRONLY|O_CREAT|O_TRUNC"),
        ("syscall_entry_openat", "dfd", -100, "AT_FDCWD"),
        ("syscall_entry_openat", "dfd", 5, "5"),
        ("syscall_exit_openat", "ret", -2, "-2 (ENOENT)"),
        ("syscall_exit_openat", "ret", 3, "3"),
        ("compat_syscall_exit_open", "ret", -13, "-13 (EACCES)"),
        ("syscall_entry_mmap", "prot", 0, "PROT_NONE"),
        ("syscall_entry_mmap", "prot", 3, "PROT_READ|PROT_WRITE"),
        ("syscall_entry_mmap", "flags", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
        ("syscall_entry_clone", "flags", 0x1200011, "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"),
        ("syscall_entry_unshare", "unshare_flags", 0x60000000, "CLONE_NEWPID|CLONE_NEWNET"),
        ("syscall_entry_socket", "family", 2, "AF_INET"),
        ("syscall_entry_socket", "type", 0x80801, "SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC"),
        ("syscall_entry_kill", "sig", 9, "SIGKILL"),
        ("syscall_entry_kill", "sig", 4711, "4711"),
        ("syscall_entry_clone3", "uargs_value.flags", 0x20000100, "CLONE_VM|CLONE_NEWPID"),
        ("syscall_entry_clone3", "uargs_value.exit_signal", 17, "SIGCHLD"),
        ("syscall_entry_openat2", "how_value.flags", os.O_RDWR, "O_RDWR"),
        ("syscall_entry_openat", "mode", 0o640, "0640"),
        ("syscall_entry_fcntl", "cmd", 2, "F_SETFD"),
        ("syscall_entry_fcntl", "cmd", 1030, "F_DUPFD_CLOEXEC"),
        ("syscall_entry_futex", "op", 0x189, "FUTEX_WAIT_BITSET|FUTEX_PRIVATE_FLAG|FUTEX_CLOCK_REALTIME"),
        ("syscall_entry_mount", "flags", 0x5000, "MS_BIND|MS_REC"),
        ("syscall_entry_umount", "flags", 2, "MNT_DETACH"),
        ("syscall_entry_memfd_create", "flags", 3, "MFD_CLOEXEC|MFD_ALLOW_SEALING"),
        ("syscall_entry_clock_nanosleep", "which_clock", 1, "CLOCK_MONOTONIC"),
        ("syscall_entry_prlimit64", "resource", 7, "RLIMIT_NOFILE"),
        ("syscall_entry_wait4", "options", 3, "WNOHANG|WUNTRACED"),
        ("syscall_entry_rt_sigprocmask", "how", 2, "SIG_SETMASK"),
    ],
)
def test_numbers_have_names(event: str, field: str, value: int, text: str) -> None:
    name = symbol(event, field)
    assert name is not None
    assert name(value) == text


@pytest.mark.parametrize(
    ("event", "field"),
    [("sched_switch", "prev_state"), ("syscall_entry_read", "count"), ("syscall_exit_mmap", "ret")],
)
def test_other_numbers_stay_numbers(event: str, field: str) -> None:
    assert symbol(event, field) is None
