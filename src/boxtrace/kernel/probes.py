"""Events that the user defines: kernel functions, functions of programs and libraries, USDT markers.

A file is named as a container sees it, and found through that container's root directory. The kernel puts a probe on
the file, not on a process: it fires in every container that uses the same file, and what is not in the wanted container
is rejected before a record is made.
"""

from __future__ import annotations

import ctypes
import difflib
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boxtrace import _native
from boxtrace.ctf.fields import DisplayBase, IntegerField, Member, StructField
from boxtrace.errors import CapabilityError, UsageError
from boxtrace.kernel.btf import kernel_btf
from boxtrace.kernel.capabilities import function_refused
from boxtrace.kernel.elf import find_functions, find_markers
from boxtrace.kernel.programs import Programs

__all__ = [
    "FunctionProbe",
    "InContainer",
    "Probe",
    "ProbeEvent",
    "UserFunctionProbe",
    "UserMarkerProbe",
    "attach_probes",
]

_MAX_VALUES = 12
_NR_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_HEX64 = IntegerField(size=64, base=DisplayBase.HEXADECIMAL)
_KALLSYMS = Path("/proc/kallsyms")
_NEEDED_BY_PROGRAMS = frozenset(
    {"__rcu_read_lock", "__rcu_read_unlock", "rcu_read_unlock_strict", "preempt_count_add", "preempt_count_sub"}
    | {"migrate_disable", "migrate_enable"}
)
"""What the kernel calls to run a BPF program: one that is attached to these would run for ever. Not every kernel
refuses."""


@dataclass(frozen=True, slots=True)
class ProbeEvent:
    """One event of a probe.

    :param name: of the event.
    :param values: its fields in order, at most twelve.
    :param program: the BPF program that records it.
    :param has_ip: whether the record begins with the address of the instruction.
    """

    name: str
    values: tuple[Member, ...]
    program: str
    has_ip: bool = False

    @property
    def fields(self) -> StructField:
        """The payload."""
        ip = (Member("ip", _HEX64),) if self.has_ip else ()
        return StructField(members=(*ip, *self.values))

    def sizes(self) -> bytes:
        """Return the size in bytes of each value."""
        return bytes(member.field.size // 8 for member in self.values if isinstance(member.field, IntegerField))


@dataclass(frozen=True, slots=True)
class InContainer:
    """A place to look for a file, and whom to listen to.

    :param root_pid: a process with the root directory in which paths are meant; None for this process's own.
    :param pid_ns: only tasks in this pid namespace, or nested in it, are recorded; 0 for all.
    :param pid_ns_level: how deep it is nested; 0 is the initial one.
    """

    root_pid: int | None = None
    pid_ns: int = 0
    pid_ns_level: int = 0


class Probe:
    """What all kinds of probes have."""

    where: InContainer = InContainer()

    def events(self) -> tuple[ProbeEvent, ...]:
        """Return the events that this probe makes.

        :raises UsageError: if there is no such function, file or marker.
        """
        raise NotImplementedError

    def attach(self, programs: Programs, first_number: int) -> list[_native.BpfLink]:
        """Attach to the loaded programs; the events have the numbers from ``first_number`` on.

        :raises CapabilityError: if the kernel refuses.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FunctionProbe(Probe):
    """Entry to and exit from a kernel function, with its typed arguments and its result."""

    function: str

    def events(self) -> tuple[ProbeEvent, ...]:
        """Return entry and exit."""
        if self.function in _NEEDED_BY_PROGRAMS:
            raise UsageError(f"{self.function} cannot be traced: the kernel calls it whenever it runs a BPF program")
        described = kernel_btf().function(self.function)
        if described is None:
            raise UsageError(
                f"the kernel has no function {self.function!r} that can be traced",
                hint=_close_to(self.function, _kernel_functions()) or f"functions are listed in {_KALLSYMS}",
            )
        *parameters, result = [_value(index, *value) for index, value in enumerate(described)]
        if any(member is None for member in parameters) or len(parameters) > _MAX_VALUES:
            raise UsageError(f"{self.function} takes structures by value, or too many arguments, to be traced")
        return (
            ProbeEvent(f"{self.function}_entry", tuple(filter(None, parameters)), "function_entry"),
            ProbeEvent(f"{self.function}_exit", (result,) if result else (), "function_exit"),
        )

    def attach(self, programs: Programs, first_number: int) -> list[_native.BpfLink]:
        """Load and attach the two programs of this function."""
        bpf = programs.image.load_functions(self.function)
        try:
            return [
                bpf.attach_function("function_entry", first_number),
                bpf.attach_function("function_exit", first_number + 1),
            ]
        except OSError as error:
            raise function_refused(self.function, error) from error


def _kernel_functions() -> set[str]:
    try:
        symbols = [line.split() for line in _KALLSYMS.read_text(encoding="ascii").splitlines()]
    except OSError:
        return set()
    return {name for _, kind, name, *_ in symbols if kind in "tT"}


def _value(index: int, name: str, _: int, size: int, kind: str, count: int, type_name: str) -> Member | None:
    if kind not in "usp" or count or size not in (1, 2, 4, 8):
        return None
    base = DisplayBase.HEXADECIMAL if kind == "p" else DisplayBase.DECIMAL
    return Member(name or f"arg{index}", IntegerField(size=size * 8, signed=kind == "s", base=base))


@dataclass(frozen=True, slots=True)
class UserFunctionProbe(Probe):
    """Entry to a function of a program or library."""

    path: str
    symbol: str
    where: InContainer = InContainer()
    _file: list[int] = field(default_factory=list, compare=False, repr=False)

    def events(self) -> tuple[ProbeEvent, ...]:
        """Return the one event, which has the symbol's name."""
        functions = find_functions(_open_in(self.where, self.path, self._file))
        if self.symbol not in functions:
            raise UsageError(
                f"{self.path} has no function {self.symbol!r}",
                hint=_close_to(self.symbol, functions)
                or ("it has none at all: it was stripped of its symbols" if not functions else None),
            )
        return (ProbeEvent(self.symbol, (), "user_probe", has_ip=True),)

    def attach(self, programs: Programs, first_number: int) -> list[_native.BpfLink]:
        """Attach to the function."""
        path = f"/proc/self/fd/{self._file[0]}"
        try:
            return [programs.image.bpf.attach_user_function("user_probe", path, self.symbol, first_number)]
        except OSError as error:
            raise CapabilityError(f"cannot probe {self.symbol} in {self.path}: {_reason(error)}") from error


@dataclass(frozen=True, slots=True)
class UserMarkerProbe(Probe):
    """A USDT marker, with its arguments."""

    path: str
    provider: str
    name: str
    where: InContainer = InContainer()
    _file: list[int] = field(default_factory=list, compare=False, repr=False)

    def events(self) -> tuple[ProbeEvent, ...]:
        """Return the one event, ``PROVIDER:NAME``, with ``arg0``, ``arg1``, ..."""
        descriptor = _open_in(self.where, self.path, self._file)
        markers = find_markers(descriptor)
        types = markers.get((self.provider, self.name))
        if types is None:
            names = sorted({f"{provider}:{name}" for provider, name in markers})
            raise UsageError(
                f"{self.path} has no marker {self.provider}:{self.name}",
                hint=_close_to(f"{self.provider}:{self.name}", names)
                or (f"it has {', '.join(names[:10])}" if names else "it has none at all"),
            )
        values = tuple(Member(f"arg{index}", kind) for index, kind in enumerate(types[:_MAX_VALUES]))
        return (ProbeEvent(f"{self.provider}:{self.name}", values, "user_marker", has_ip=True),)

    def attach(self, programs: Programs, first_number: int) -> list[_native.BpfLink]:
        """Attach to every place of the marker."""
        path = f"/proc/self/fd/{self._file[0]}"
        try:
            return [programs.image.bpf.attach_user_marker("user_marker", path, self.provider, self.name, first_number)]
        except OSError as error:
            raise CapabilityError(
                f"cannot attach to {self.provider}:{self.name} in {self.path}: {_reason(error)}"
            ) from error


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _open_in(where: InContainer, path: str, kept: list[int]) -> int:
    """Open a file as a process of the container would find it, symbolic links included; keep it open in ``kept``."""
    if kept:
        return kept[0]
    root = "/" if where.root_pid is None else f"/proc/{where.root_pid}/root"
    try:
        directory = os.open(root, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot look into {root}: {error.strerror}") from error
    try:
        how = _OpenHow(os.O_RDONLY | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(
            ctypes.c_long(_NR_OPENAT2), directory, path.encode(), ctypes.byref(how), ctypes.sizeof(how)
        )
    finally:
        os.close(directory)
    if descriptor < 0:
        raise UsageError(f"cannot open {path}: {os.strerror(ctypes.get_errno())}")
    kept.append(descriptor)
    return int(descriptor)


def _close_to(name: str, names: Iterable[str]) -> str | None:
    """Return a hint at names that are nearly this one."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    return f"did you mean {' or '.join(near)}?" if near else None


def _reason(error: OSError) -> str:
    log = getattr(error, "log", "").strip().splitlines()
    return log[-1].removeprefix("libbpf: ") if log else os.strerror(error.errno or 0)


def attach_probes(programs: Programs, probes: Sequence[Probe]) -> list[_native.BpfLink]:
    """Attach probes whose events the catalogue of the programs holds, in the same order.

    :raises CapabilityError: if the kernel refuses one.
    """
    links: list[_native.BpfLink] = []
    ids = iter(programs.image.config.catalogue.probe_ids)
    table = programs.image.map_fd("probes")
    number = 0
    for probe in probes:
        first = number
        for event in probe.events():
            sizes = event.sizes()
            value = programs.image.pack_struct(
                "bt_probe",
                event_id=next(ids),
                payload=sum(sizes) + 8 * event.has_ip,
                has_ip=event.has_ip,
                size=sizes.ljust(_MAX_VALUES, b"\0"),
                pid_ns=probe.where.pid_ns,
                pid_ns_level=probe.where.pid_ns_level,
            )
            _native.map_update(table, struct.pack("<I", number), value)
            number += 1
        links += probe.attach(programs, first)
    return links
