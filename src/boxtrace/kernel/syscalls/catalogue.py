"""Which system calls there are, by number, with their arguments.

Numbers and names come from tables in ``data/`` (made by ``scripts/make-syscall-tables.py``). Argument names and types
come from the running kernel's tracefs (``CONFIG_FTRACE_SYSCALLS``), and where it tells none, from descriptions shipped
in ``data/``: that is always so for the calls of 32-bit programs that 64-bit programs do not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from boxtrace.errors import CapabilityError
from boxtrace.kernel.syscalls.types import Abi, c_integer
from boxtrace.kernel.tracefs import Tracefs

__all__ = ["Argument", "Syscall", "describe_arguments", "load_arguments", "load_names", "syscall_table"]

Descriptions = Mapping[str, tuple[str, ...]]
"""Parameters (``int dfd``) of system calls, in order, by kernel function name."""

_MAX_ARGUMENTS = 6
_PREFIX = "sys_enter_"
_LINE = re.compile(r"^(\w+)\((.*)\)$")
_PARAMETER = re.compile(r"^(.*?)(\w+)$")

# Descriptions of an ABI, most specific first: its own register layouts, then those of all 32-bit ABIs.
_SPECIFIC: dict[Abi, tuple[str, ...]] = {
    Abi.X86_64: (),
    Abi.I386: ("arguments-i386.txt", "arguments-32bit.txt"),
    Abi.AARCH64: ("arguments-aarch64.txt",),
    Abi.ARM: ("arguments-arm.txt", "arguments-32bit.txt"),
}

# LTTng's event fields where they differ from the kernel's parameter: kernel function, parameter -> name, C type.
_LTTNG_FIELDS: dict[tuple[str, str], tuple[str, str | None]] = {
    ("clone", "clone_flags"): ("flags", None),
    ("clone", "parent_tidptr"): ("parent_tid", None),
    ("clone", "child_tidptr"): ("child_tid", None),
    ("ftruncate", "length"): ("length", "unsigned long"),
    ("getcpu", "unused"): ("tcache", None),
    ("mmap", "prot"): ("prot", "int"),
    ("mmap", "flags"): ("flags", "int"),
    ("mmap", "fd"): ("fd", "int"),
    ("mmap", "off"): ("offset", "off_t"),
    ("pselect6", "exp"): ("exceptfds", None),
    ("pselect6", "inp"): ("readfds", None),
    ("pselect6", "outp"): ("writefds", None),
    ("pselect6", "tsp"): ("tvp", None),
    ("select", "exp"): ("exceptfds", None),
    ("select", "inp"): ("readfds", None),
    ("select", "outp"): ("writefds", None),
}

_HEXADECIMAL = frozenset(
    {
        ("accept", "upeer_sockaddr"),
        ("accept4", "upeer_sockaddr"),
        ("accept4", "flags"),
        ("clone", "child_tid"),
        ("clone", "flags"),
        ("clone", "newsp"),
        ("clone", "parent_tid"),
        ("connect", "uservaddr"),
        ("connect", "addrlen"),
        ("epoll_pwait", "sigmask"),
        ("execve", "argv"),
        ("execve", "envp"),
        ("getcpu", "cpup"),
        ("getcpu", "nodep"),
        ("getcpu", "tcache"),
        ("mmap", "addr"),
        ("pselect6", "sig"),
    }
)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a system call, as its register holds it.

    :param name: field name, LTTng's.
    :param c_type: the C type as the kernel declares it.
    :param size: bytes of the register that count, from the lowest: 1, 2, 4 or 8.
    :param signed: whether it can be negative.
    :param is_pointer: whether it is an address in the caller's memory.
    :param base: the base in which it is shown, 10 or 16, as in LTTng's metadata.
    """

    name: str
    c_type: str
    size: int
    signed: bool
    is_pointer: bool = False
    base: int = 10


_RESULT = Argument("ret", "long", 8, signed=True)
_ADDRESS_RESULT = Argument("ret", "unsigned long", 8, signed=False, base=16)


@dataclass(frozen=True, slots=True)
class Syscall:
    """One system call of an ABI.

    :param number: what the caller puts in the register.
    :param name: name of the kernel function, which is LTTng's: ``newstat``, ``newuname``, ``sendfile64``.
    :param arguments: in the order of the registers, at most six.
    :param result: the field of what it returns: a signed word, the tracepoint's, for any ABI; an address for ``mmap``.
    """

    number: int
    name: str
    arguments: tuple[Argument, ...]
    result: Argument = _RESULT


def _data(file_name: str) -> list[str]:
    text = files("boxtrace.kernel.syscalls").joinpath("data", file_name).read_text(encoding="ascii")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def load_names(abi: Abi) -> dict[int, str]:
    """Return the kernel function name of every system call number of an ABI."""
    return {int(number): name for number, _, name in (line.partition(" ") for line in _data(f"{abi}.txt"))}


def load_arguments(file_name: str) -> dict[str, tuple[str, ...]]:
    """Return the descriptions of a shipped file."""
    described: dict[str, tuple[str, ...]] = {}
    for line in _data(file_name):
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"{file_name}: {line!r} is not name(type name, ...)")
        described[match[1]] = tuple(match[2].split(", ")) if match[2] else ()
    return described


def describe_arguments(tracefs: Tracefs) -> dict[str, tuple[str, ...]]:
    """Return the descriptions of the running kernel: of its native ABI, of what it was built with."""
    described: dict[str, tuple[str, ...]] = {}
    for event in tracefs.names("syscalls"):
        if event.startswith(_PREFIX):
            fields = tracefs.format("syscalls", event).fields
            described[event.removeprefix(_PREFIX)] = tuple(
                f"{field.c_type} {field.name}" for field in fields if not field.name.startswith("__syscall_nr")
            )
    return described


def _argument(function: str, parameter: str, abi: Abi) -> Argument:
    match = _PARAMETER.match(parameter)
    if match is None:
        raise ValueError(f"{function}: {parameter!r} is not a type and a name")
    c_type, kernel_name = match[1].strip(), match[2]
    name, replaced = _LTTNG_FIELDS.get((function, kernel_name), (kernel_name, None))
    passed = c_integer(replaced or c_type, abi)
    base = 16 if (function, name) in _HEXADECIMAL else 10
    return Argument(name, replaced or c_type, passed.size, passed.signed, passed.pointer, base)


def _find_descriptions() -> Descriptions:
    try:
        return describe_arguments(Tracefs.find())
    except CapabilityError:  # the shipped descriptions say the same of the calls that existed when they were made
        return {}


def syscall_table(abi: Abi, descriptions: Descriptions | None = None) -> dict[int, Syscall]:
    """Return the system calls of an ABI by number.

    A number that is not in it is unknown: no name, six registers that may or may not be arguments. A call whose
    arguments nobody describes has ``arg0`` to ``arg5``, each a whole register.

    :param descriptions: what the running kernel tells (:func:`describe_arguments`), reused for the second ABI of a
        machine; None reads it from tracefs, if that can be read. Only meaningful for the ABIs of this machine: pass an
        empty mapping for another's.
    """
    running = _find_descriptions() if descriptions is None else descriptions
    sources = [*map(load_arguments, _SPECIFIC[abi]), running, load_arguments("arguments.txt")]
    raw = tuple(f"unsigned long arg{index}" for index in range(_MAX_ARGUMENTS))
    table: dict[int, Syscall] = {}
    for number, name in load_names(abi).items():
        parameters = next((source[name] for source in sources if name in source), raw)
        arguments = tuple(_argument(name, text, abi) for text in parameters[:_MAX_ARGUMENTS])
        table[number] = Syscall(number, name, arguments, _ADDRESS_RESULT if name == "mmap" else _RESULT)
    return table
