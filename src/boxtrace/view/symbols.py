"""Numbers of system call events by their names: flags of open, protections of mmap, errors, signals, address families.

Names and values are those of this machine's C library as Python's modules give them, and of the kernel's UAPI headers
where they give none; both are stable for an architecture.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial

from boxtrace.ctf.fields import StructField
from boxtrace.view.values import Show, shower

__all__ = ["symbol", "symbolic_struct"]

_Namer = Callable[[int], str]
_MAX_ERRNO = 4095

# include/uapi/linux/sched.h, fcntl.h, stat.h, epoll; not in Python's modules of every version.
_CLONE = {
    "CLONE_NEWTIME": 0x80,
    "CLONE_VM": 0x100,
    "CLONE_FS": 0x200,
    "CLONE_FILES": 0x400,
    "CLONE_SIGHAND": 0x800,
    "CLONE_PIDFD": 0x1000,
    "CLONE_PTRACE": 0x2000,
    "CLONE_VFORK": 0x4000,
    "CLONE_PARENT": 0x8000,
    "CLONE_THREAD": 0x10000,
    "CLONE_NEWNS": 0x20000,
    "CLONE_SYSVSEM": 0x40000,
    "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000,
    "CLONE_CHILD_CLEARTID": 0x200000,
    "CLONE_DETACHED": 0x400000,
    "CLONE_UNTRACED": 0x800000,
    "CLONE_CHILD_SETTID": 0x1000000,
    "CLONE_NEWCGROUP": 0x2000000,
    "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
    "CLONE_IO": 0x80000000,
}
_AT = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_EACCESS/AT_REMOVEDIR": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400,
    "AT_NO_AUTOMOUNT": 0x800,
    "AT_EMPTY_PATH": 0x1000,
    "AT_STATX_FORCE_SYNC": 0x2000,
    "AT_STATX_DONT_SYNC": 0x4000,
}
_AT_FDCWD = -100
_MOUNT = {
    "MS_RDONLY": 1,
    "MS_NOSUID": 2,
    "MS_NODEV": 4,
    "MS_NOEXEC": 8,
    "MS_SYNCHRONOUS": 16,
    "MS_REMOUNT": 32,
    "MS_DIRSYNC": 0x80,
    "MS_NOSYMFOLLOW": 0x100,
    "MS_NOATIME": 0x400,
    "MS_NODIRATIME": 0x800,
    "MS_BIND": 0x1000,
    "MS_MOVE": 0x2000,
    "MS_REC": 0x4000,
    "MS_SILENT": 0x8000,
    "MS_POSIXACL": 0x10000,
    "MS_UNBINDABLE": 0x20000,
    "MS_PRIVATE": 0x40000,
    "MS_SLAVE": 0x80000,
    "MS_SHARED": 0x100000,
    "MS_RELATIME": 0x200000,
    "MS_STRICTATIME": 0x1000000,
    "MS_LAZYTIME": 0x2000000,
}
_FUTEX = (
    *("WAIT", "WAKE", "FD", "REQUEUE", "CMP_REQUEUE", "WAKE_OP", "LOCK_PI", "UNLOCK_PI", "TRYLOCK_PI", "WAIT_BITSET"),
    *("WAKE_BITSET", "WAIT_REQUEUE_PI", "CMP_REQUEUE_PI", "LOCK_PI2"),
)
_FCNTL = (
    *("F_DUPFD", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_GETLK", "F_SETLK", "F_SETLKW", "F_SETOWN", "F_GETOWN"),
    *("F_SETSIG", "F_GETSIG"),
)
_FCNTL_MORE = {"F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38}
_FCNTL_LINUX = 1024
"""Commands from here on are Linux's own; the module's other numbers are not all commands."""
_WAIT = {
    "WNOHANG": 1,
    "WUNTRACED": 2,
    "WEXITED": 4,
    "WCONTINUED": 8,
    "WNOWAIT": 0x1000000,
    "__WNOTHREAD": 0x20000000,
    "__WALL": 0x40000000,
    "__WCLONE": 0x80000000,
}
_FLAGS = {
    "memfd_create": {"MFD_CLOEXEC": 1, "MFD_ALLOW_SEALING": 2, "MFD_HUGETLB": 4, "MFD_NOEXEC_SEAL": 8, "MFD_EXEC": 16},
    "eventfd2": {"EFD_SEMAPHORE": 1, "EFD_NONBLOCK": os.O_NONBLOCK, "EFD_CLOEXEC": os.O_CLOEXEC},
    "timerfd_create": {"TFD_NONBLOCK": os.O_NONBLOCK, "TFD_CLOEXEC": os.O_CLOEXEC},
    "mount": _MOUNT,
    "umount": {"MNT_FORCE": 1, "MNT_DETACH": 2, "MNT_EXPIRE": 4, "UMOUNT_NOFOLLOW": 8},
}
"""What the argument ``flags`` of these calls is made of."""


def _flags(names: Mapping[str, int], zero: str = "0") -> _Namer:
    """Return the namer of a set of bits; what has no name is added in hexadecimal."""
    known = sorted(((value, name) for name, value in names.items() if value), reverse=True)

    def name(value: int) -> str:
        rest = value & 0xFFFF_FFFF_FFFF_FFFF
        found = []
        for bits, text in known:
            if rest & bits == bits:
                found.append((bits, text))
                rest &= ~bits
        texts = [text for _, text in sorted(found)]
        if rest:
            texts.append(f"0x{rest:X}")
        return "|".join(texts) or zero

    return name


def _constants(module: object, prefix: str, without: Iterable[str] = ()) -> dict[str, int]:
    leave_out = frozenset(without)
    return {
        name: int(value)
        for name, value in vars(module).items()
        if name.startswith(prefix) and name not in leave_out and isinstance(value, int)
    }


def _one_of(names: Mapping[str, int]) -> _Namer:
    numbers: dict[int, str] = {}
    for name, value in names.items():
        numbers.setdefault(value, name)
    return lambda value: numbers.get(value, str(value))


@cache
def _open_flags() -> _Namer:
    names = _constants(os, "O_", ("O_ACCMODE", "O_RDONLY", "O_WRONLY", "O_RDWR", "O_NDELAY", "O_RSYNC", "O_FSYNC"))
    names["O_LARGEFILE"] = 0o100000
    modes = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
    rest = _flags(names, "")

    def name(value: int) -> str:
        others = rest(value & ~os.O_ACCMODE)
        return modes[value & os.O_ACCMODE] + (f"|{others}" if others else "")

    return name


@cache
def _map_flags() -> _Namer:
    names = _constants(mmap, "MAP_", ("MAP_SHARED", "MAP_PRIVATE", "MAP_ANON"))
    names.update({"MAP_FIXED": 0x10, "MAP_FIXED_NOREPLACE": 0x100000})
    kinds = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
    rest = _flags(names, "")

    def name(value: int) -> str:
        others = rest(value & ~0xF)
        return kinds.get(value & 0xF, str(value & 0xF)) + (f"|{others}" if others else "")

    return name


@cache
def _socket_type() -> _Namer:
    kind = _one_of(_constants(socket, "SOCK_", ("SOCK_NONBLOCK", "SOCK_CLOEXEC")))
    flags = _flags({"SOCK_NONBLOCK": socket.SOCK_NONBLOCK, "SOCK_CLOEXEC": socket.SOCK_CLOEXEC}, "")

    def name(value: int) -> str:
        others = flags(value & ~0xF)
        return kind(value & 0xF) + (f"|{others}" if others else "")

    return name


def _signal(value: int) -> str:
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)


@cache
def _clone_flags() -> _Namer:
    flags = _flags(_CLONE, "")

    def name(value: int) -> str:
        others, number = flags(value & ~0x7F), value & 0x7F
        texts = [others] if others else []
        if number:
            texts.append(_signal(number))
        return "|".join(texts) or "0"

    return name


@cache
def _futex_operation() -> _Namer:
    operation = _one_of({f"FUTEX_{name}": number for number, name in enumerate(_FUTEX)})
    flags = _flags({"FUTEX_PRIVATE_FLAG": 0x80, "FUTEX_CLOCK_REALTIME": 0x100}, "")

    def name(value: int) -> str:
        others = flags(value & 0x180)
        return operation(value & ~0x180) + (f"|{others}" if others else "")

    return name


def _fcntl_command() -> _Namer:
    newer = {name: value for name, value in _constants(fcntl, "F_").items() if value >= _FCNTL_LINUX}
    return _one_of({name: number for number, name in enumerate(_FCNTL)} | _FCNTL_MORE | newer)


def _mode(value: int) -> str:
    return f"0{value:o}" if value else "0"


def _result(value: int) -> str:
    if -_MAX_ERRNO <= value < 0:
        return f"{value} ({errno.errorcode.get(-value, 'unknown error')})"
    return str(value)


@cache
def _namers() -> Mapping[tuple[str, str], _Namer]:
    family = _one_of(_constants(socket, "AF_"))
    protection = _flags({"PROT_READ": 1, "PROT_WRITE": 2, "PROT_EXEC": 4}, "PROT_NONE")
    at = _flags(_AT)
    directory: _Namer = lambda value: "AT_FDCWD" if value == _AT_FDCWD else str(value)  # noqa: E731
    namers: dict[tuple[str, str], _Namer] = {
        ("open", "flags"): _open_flags(),
        ("openat", "flags"): _open_flags(),
        ("openat2", "how_value.flags"): _open_flags(),
        ("openat2", "how_value.mode"): _mode,
        ("pipe2", "flags"): _open_flags(),
        ("dup3", "flags"): _open_flags(),
        ("mmap", "prot"): protection,
        ("mprotect", "prot"): protection,
        ("mmap", "flags"): _map_flags(),
        ("clone", "flags"): _clone_flags(),
        ("unshare", "unshare_flags"): _flags(_CLONE),
        ("setns", "flags"): _flags(_CLONE),
        ("clone3", "uargs_value.flags"): _flags(_CLONE),
        ("clone3", "uargs_value.exit_signal"): lambda value: _signal(value) if value else "0",
        ("fcntl", "cmd"): _fcntl_command(),
        ("futex", "op"): _futex_operation(),
        ("madvise", "behavior"): _one_of(_constants(mmap, "MADV_")),
        ("rt_sigprocmask", "how"): _one_of({"SIG_BLOCK": 0, "SIG_UNBLOCK": 1, "SIG_SETMASK": 2}),
        ("wait4", "options"): _flags(_WAIT),
        ("waitid", "options"): _flags(_WAIT),
        ("socket", "type"): _socket_type(),
        ("socketpair", "type"): _socket_type(),
        ("accept4", "flags"): _flags({"SOCK_NONBLOCK": socket.SOCK_NONBLOCK, "SOCK_CLOEXEC": socket.SOCK_CLOEXEC}),
        ("epoll_create1", "flags"): _flags({"EPOLL_CLOEXEC": os.O_CLOEXEC}),
        ("access", "mode"): _flags({"R_OK": 4, "W_OK": 2, "X_OK": 1}, "F_OK"),
        ("faccessat", "mode"): _flags({"R_OK": 4, "W_OK": 2, "X_OK": 1}, "F_OK"),
        ("lseek", "whence"): _one_of({"SEEK_SET": 0, "SEEK_CUR": 1, "SEEK_END": 2, "SEEK_DATA": 3, "SEEK_HOLE": 4}),
        ("rt_sigaction", "sig"): _signal,
        ("kill", "sig"): _signal,
        ("tgkill", "sig"): _signal,
        ("tkill", "sig"): _signal,
        ("sendto", "flags"): _flags(_constants(socket, "MSG_")),
        ("recvfrom", "flags"): _flags(_constants(socket, "MSG_")),
        ("sendmsg", "flags"): _flags(_constants(socket, "MSG_")),
        ("recvmsg", "flags"): _flags(_constants(socket, "MSG_")),
        ("*", "family"): family,
        ("*", "dfd"): directory,
        ("*", "olddfd"): directory,
        ("*", "newdfd"): directory,
    }
    for call, names in _FLAGS.items():
        namers[call, "flags"] = _flags(names)
    for call in ("open", "openat", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat"):
        namers[call, "mode"] = _mode
    for call in ("clock_gettime", "clock_getres", "clock_settime", "clock_nanosleep", "timer_create"):
        namers[call, "which_clock"] = _one_of(_constants(time, "CLOCK_"))
    for call in ("getrlimit", "setrlimit", "prlimit64"):
        namers[call, "resource"] = _one_of(_constants(resource, "RLIMIT_"))
    for call in ("newfstatat", "fchownat", "unlinkat", "linkat", "statx", "execveat", "faccessat2"):
        namers[call, "flag"] = namers[call, "flags"] = at
    return namers


def symbol(event: str, field: str) -> _Namer | None:
    """Return the function that names the values of a field of a system call's event; None where numbers are best.

    :param field: its name; of a member of what it points to, the path: ``uargs_value.flags``.
    """
    for prefix in ("syscall_entry_", "syscall_exit_", "compat_syscall_entry_", "compat_syscall_exit_"):
        if event.startswith(prefix):
            call = event.removeprefix(prefix)
            if field == "ret":
                return None if call == "mmap" else _result
            return _namers().get((call, field)) or _namers().get(("*", field))
    return None


def symbolic_struct(event: str, field: StructField) -> Show:
    """Return the function that shows a payload, with names for numbers where there are any."""
    return shower(field, partial(symbol, event))
