#!/usr/bin/env python3
"""Write the system call tables of ``src/boxtrace/kernel/syscalls/data``.

Numbers come from the kernel's exported headers as the ``ziglang`` wheel carries them. Names are those of the kernel
functions (``sys_enter_<name>`` in tracefs, ``syscall_entry_<name>`` in LTTng), which differ from user space's names for
the calls listed in ALIASES: facts of the kernel's ``syscall*.tbl`` files. ``--arguments`` also takes the argument
types and names of the running kernel from tracefs; calls which that kernel lacks keep what the file says already.
``--check`` writes nothing and fails when a table is not what this script makes.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "src/boxtrace/kernel/syscalls/data"

HEADERS = {
    "x86_64": "x86-linux-any/asm/unistd_64.h",
    "i386": "x86-linux-any/asm/unistd_32.h",
    "aarch64": "aarch64-linux-any/asm/unistd_64.h",
    "arm": "arm-linux-any/asm/unistd-eabi.h",
}

# Numbers that have a name but have led to no function since before Linux 5.10: they are unknown calls.
NEVER_IMPLEMENTED = frozenset(
    [
        "_sysctl",
        "afs_syscall",
        "break",
        "create_module",
        "epoll_ctl_old",
        "epoll_wait_old",
        "ftime",
        "get_kernel_syms",
        "getpmsg",
        "gtty",
        "idle",
        "lock",
        "mpx",
        "nfsservctl",
        "prof",
        "profil",
        "putpmsg",
        "query_module",
        "security",
        "stty",
        "tuxcall",
        "ulimit",
        "vserver",
    ]
)
NEVER_IMPLEMENTED_ON = {"x86_64": frozenset({"get_thread_area", "set_thread_area", "uselib"})}

_NATIVE_64 = {"fstat": "newfstat", "sendfile": "sendfile64", "umount2": "umount", "uname": "newuname"}

_SIXTEEN_BIT_IDS = [
    "chown",
    "fchown",
    "lchown",
    "getuid",
    "getgid",
    "geteuid",
    "getegid",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "getresuid",
    "getresgid",
    "setfsuid",
    "setfsgid",
    "getgroups",
    "setgroups",
]

_SIXTY_FOUR_BIT_TIME = [
    "clock_gettime",
    "clock_settime",
    "clock_adjtime",
    "timer_gettime",
    "timer_settime",
    "timerfd_gettime",
    "timerfd_settime",
]

_SIXTY_FOUR_BIT_TIME_SUFFIXED = [
    "clock_getres",
    "clock_nanosleep",
    "utimensat",
    "pselect6",
    "ppoll",
    "io_pgetevents",
    "recvmmsg",
    "mq_timedsend",
    "mq_timedreceive",
    "semtimedop",
    "rt_sigtimedwait",
    "futex",
    "sched_rr_get_interval",
]

# What the 32-bit ABIs have in common: ids of 16 bits under the old names, times of 32 bits under the old names.
_NATIVE_32 = {
    "stat": "newstat",
    "lstat": "newlstat",
    "fstat": "newfstat",
    "uname": "newuname",
    "umount2": "umount",
    "ugetrlimit": "getrlimit",
    "_llseek": "llseek",
    "_newselect": "select",
    "adjtimex": "adjtimex_time32",
    "nanosleep": "nanosleep_time32",
    "io_getevents": "io_getevents_time32",
    **{name: f"{name}16" for name in _SIXTEEN_BIT_IDS},
    **{f"{name}32": name for name in _SIXTEEN_BIT_IDS},
    **{name: f"{name}32" for name in _SIXTY_FOUR_BIT_TIME},
    **{f"{name}64": name for name in _SIXTY_FOUR_BIT_TIME},
    **{name: f"{name}_time32" for name in _SIXTY_FOUR_BIT_TIME_SUFFIXED},
    **{f"{name}_time64": name for name in _SIXTY_FOUR_BIT_TIME_SUFFIXED},
}

ALIASES = {
    "x86_64": {**_NATIVE_64, "stat": "newstat", "lstat": "newlstat"},
    "i386": {
        **_NATIVE_32,
        "futimesat": "futimesat_time32",
        "getrlimit": "old_getrlimit",
        "mmap": "old_mmap",
        "mmap2": "mmap_pgoff",
        "oldfstat": "fstat",
        "oldlstat": "lstat",
        "oldolduname": "olduname",
        "oldstat": "stat",
        "olduname": "uname",
        "readdir": "old_readdir",
        "select": "old_select",
        "stime": "stime32",
        "time": "time32",
        "umount": "oldumount",
        "utime": "utime32",
        "utimes": "utimes_time32",
    },
    "aarch64": {**_NATIVE_64, "fadvise64": "fadvise64_64", "personality": "arm64_personality"},
    "arm": {
        **_NATIVE_32,
        "arm_sync_file_range": "sync_file_range2",
        "futimesat": "futimesat_time32",
        "msgctl": "old_msgctl",
        "semctl": "old_semctl",
        "shmctl": "old_shmctl",
        "utimes": "utimes_time32",
    },
}

_DEFINE = re.compile(r"^#define __NR_(\w+)\s+(?:\(__NR_SYSCALL_BASE \+ )?(\d+)\)?\s*$", re.MULTILINE)


def table(abi: str, include: Path) -> dict[int, str]:
    """Return number -> kernel function name of one ABI."""
    skipped = NEVER_IMPLEMENTED | NEVER_IMPLEMENTED_ON.get(abi, frozenset())
    names = {int(number): name for name, number in _DEFINE.findall((include / HEADERS[abi]).read_text())}
    return {number: ALIASES[abi].get(name, name) for number, name in sorted(names.items()) if name not in skipped}


def render_table(abi: str, include: Path) -> str:
    """Return the text of one ABI's table."""
    version = (include / "any-linux-any/linux/version.h").read_text()
    major, minor = (re.search(rf"LINUX_VERSION_{part} (\d+)", version) for part in ("MAJOR", "PATCHLEVEL"))
    if major is None or minor is None:
        raise SystemExit("linux/version.h has no version")
    lines = [
        f"# System calls of {abi} (Linux {major[1]}.{minor[1]}): number, kernel function. See make-syscall-tables.py."
    ]
    lines += [f"{number} {name}" for number, name in table(abi, include).items()]
    return "\n".join(lines) + "\n"


def render_arguments() -> str:
    """Return the text of ``arguments.txt``, with what the running kernel describes."""
    from boxtrace.kernel.syscalls import describe_arguments, load_arguments
    from boxtrace.kernel.tracefs import Tracefs

    known = {name: ", ".join(parameters) for name, parameters in load_arguments("arguments.txt").items()}
    known |= {name: ", ".join(parameters) for name, parameters in describe_arguments(Tracefs.find()).items()}
    head = "# Arguments of system calls, by kernel function, as tracefs describes them; x86_64 where ABIs differ."
    return "\n".join([head, *(f"{name}({known[name]})" for name in sorted(known))]) + "\n"


def main() -> int:
    """Write or check the tables; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arguments", action="store_true", help="also refresh arguments.txt from the running kernel")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    options = parser.parse_args()
    import ziglang

    include = Path(ziglang.__file__).parent / "lib/libc/include"
    wanted = {DATA / f"{abi}.txt": render_table(abi, include) for abi in HEADERS}
    if options.arguments:
        wanted[DATA / "arguments.txt"] = render_arguments()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'stale' if options.check else 'wrote'}: {path.name}")
        if not options.check:
            path.write_text(wanted[path])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
