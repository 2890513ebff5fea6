"""What a system call's events hold: their CTF fields, and the steps by which the BPF programs collect them.

Field names, order and direction are LTTng's (``data/fields.txt``); beside them stands what LTTng records as an address
only: structures, buffers, vectors, argument lists. A structure that could not be read, or of a call that failed, is a
sequence of no element, never a made-up value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    DynamicStringField,
    EnumMapping,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    SequenceField,
    StringField,
    StructField,
)
from boxtrace.ctf.fields import FieldClass as Field
from boxtrace.kernel.syscalls.catalogue import Argument, Syscall

__all__ = ["EventLayout", "LayoutOptions", "Step", "StepKind", "StructLookup", "syscall_layouts"]

StructLookup = Callable[[str], StructField | None]
"""Gives the CTF form of a kernel structure by name, every byte of it accounted for; None if it has none."""

_TOKEN = re.compile(r"(?P<name>\w+)(?::(?P<plain>string)|=(?P<kind>\w+)\((?P<operands>[^)]*)\))?")
_CONST_STRING = re.compile(r"const char \*")
_STRUCT_POINTER = re.compile(r"(?P<const>const )?struct (?P<name>\w+) \*")
_NOT_STRINGS = frozenset({"buf", "u_msg_ptr", "uargs", "name_user"})
_OPAQUE_STRUCTS = frozenset({"iovec", "sockaddr", "pollfd", "epoll_event", "user_msghdr", "mmsghdr", "siginfo"})
_MAX_STRUCT = 512
_MAX_TEXT = 4095
_MAX_VECTOR = 64
_FDSET_BYTES = 128


class StepKind(IntEnum):
    """``enum bt_step_kind`` of the BPF programs."""

    INTEGER = 1
    RESULT = 2
    STRING = 3
    SEQUENCE = 4
    FIXED = 5
    SOCKADDR = 6
    FDSET = 7
    FDSET_OVERFLOW = 8
    POLLFDS = 9
    EPOLL_EVENT = 10
    EPOLL_EVENTS = 11
    STRINGS = 12


class _Count(IntEnum):
    """``enum bt_count``: where the number of elements comes from."""

    CONSTANT = 0
    ARGUMENT = 1
    RESULT = 2
    POINTED = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One step of collecting a record.

    :param argument: index of the register: the value, or the address to read.
    :param size: bytes of an integer, of an element, or of what is copied.
    :param count: where the number of elements comes from, with ``operand`` the constant or the register's index.
    :param limit: how many elements, or bytes of a string, at most.
    """

    kind: StepKind
    argument: int = 0
    size: int = 0
    count: _Count = _Count.CONSTANT
    operand: int = 0
    limit: int = 0

    def pack(self) -> bytes:
        """Return it as ``struct bt_step``."""
        return struct.pack("<BBHBBH", self.kind, self.argument, self.size, self.count, self.operand, self.limit)


@dataclass(frozen=True, slots=True)
class EventLayout:
    """The fields of one event and how they are collected. All steps INTEGER or RESULT: ``simple``, of a fixed size."""

    fields: StructField
    steps: tuple[Step, ...]

    @property
    def simple(self) -> bool:
        """Whether the record holds registers only."""
        registers = [step.argument for step in self.steps if step.kind is StepKind.INTEGER]
        plain = all(step.kind in (StepKind.INTEGER, StepKind.RESULT) for step in self.steps)
        return plain and registers == sorted(set(registers))

    def register_sizes(self) -> bytes:
        """Return for each register how many bytes of it are recorded, up to the last that is, of a simple layout."""
        sizes = {step.argument: step.size for step in self.steps if step.kind is StepKind.INTEGER}
        return bytes(sizes.get(index, 0) for index in range(max(sizes, default=-1) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """What is recorded beyond the arguments.

    :param buffer_bytes: so many bytes of what is read and written, 0 for none.
    :param environment: the environment that execve is given.
    :param structs: how kernel structures look; None leaves pointers as they are.
    """

    buffer_bytes: int = 0
    environment: bool = False
    structs: StructLookup | None = None


_U8 = IntegerField(size=8)
_U16 = IntegerField(size=16)
_U32 = IntegerField(size=32)
_I32 = IntegerField(size=32, signed=True)
_HEX16 = IntegerField(size=16, base=DisplayBase.HEXADECIMAL)
_HEX32 = IntegerField(size=32, base=DisplayBase.HEXADECIMAL)
_HEX64 = IntegerField(size=64, base=DisplayBase.HEXADECIMAL)


def _struct(**members: Field) -> StructField:
    return StructField(members=tuple(Member(name, field) for name, field in members.items()))


def _bits(*names: str) -> StructField:
    """Return one byte of flags, the lowest first."""
    members = [Member(name, IntegerField(size=1, align=1)) for name in names]
    members.append(Member("padding", IntegerField(size=8 - len(names), align=1)))
    return StructField(members=tuple(members), align=8)


_POLLFD = _struct(fd=_I32, raw_events=_HEX16, events=_bits("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP"))
_EPOLL_EVENT = _struct(
    data_union=_struct(u64=_HEX64, fd=_I32),
    raw_events=_HEX32,
    events=_bits("EPOLLIN", "EPOLLPRI", "EPOLLOUT", "EPOLLERR"),
)
_IOVEC = _struct(iov_base=_HEX64, iov_len=IntegerField(size=64))
_EPOLL_OP = IntegerField(
    size=32,
    signed=True,
    mappings=tuple(
        EnumMapping(name, ((number, number),))
        for number, name in ((1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD"))
    ),
)
_BIG = ByteOrder.BIG


def _length(name: str) -> str:
    return f"_{name}_length"


def _sequence(name: str, element: Field, length: Field = _U32, length_name: str | None = None) -> list[Member]:
    length_name = length_name or _length(name)
    location = FieldLocation(Scope.EVENT_PAYLOAD, (length_name,))
    return [Member(length_name, length), Member(name, SequenceField(element=element, length=location))]


def _integer(argument: Argument) -> IntegerField:
    base = DisplayBase.HEXADECIMAL if argument.base == 16 else DisplayBase.DECIMAL
    return IntegerField(size=argument.size * 8, signed=argument.signed, base=base)


@cache
def _declared() -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    text = files("boxtrace.kernel.syscalls").joinpath("data", "fields.txt").read_text(encoding="ascii")
    declared = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, fields = line.partition(":")
            entry, _, exit_ = fields.partition("->")
            declared[name] = (tuple(entry.split()), tuple(exit_.split()))
    return declared


class _Builder:
    """Builds one event's fields and steps, token by token."""

    def __init__(self, call: Syscall, options: LayoutOptions, *, on_exit: bool) -> None:
        self._arguments = {argument.name: index for index, argument in enumerate(call.arguments)}
        self._call = call
        self._options = options
        self._on_exit = on_exit
        self.members: list[Member] = []
        self.steps: list[Step] = []

    def add(self, token: str) -> None:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"{self._call.name}: {token!r} is not a field")
        name = match["name"]
        if match["kind"]:
            operands = match["operands"].split(",")
            getattr(self, f"_add_{match['kind']}")(name, *operands)
        elif name in self._arguments:
            if match["plain"]:
                self._add(StringField(), name, Step(StepKind.STRING, self._arguments[name]))
            else:
                argument = self._call.arguments[self._arguments[name]]
                self._add(_integer(argument), name, Step(StepKind.INTEGER, self._arguments[name], argument.size))

    def _add(self, field: Field, name: str, *steps: Step) -> None:
        self.members.append(Member(name, field))
        self.steps += steps

    def _count(self, operand: str) -> tuple[_Count, int]:
        if operand == "ret":
            return _Count.RESULT, 0
        if operand.startswith("*"):
            return _Count.POINTED, self._arguments[operand[1:]]
        return _Count.ARGUMENT, self._arguments[operand]

    def _add_sequence(self, name: str, element: Field, size: int, address: str, count: str, limit: int) -> None:
        source, operand = self._count(count)
        self.members += _sequence(name, element)
        self.steps.append(Step(StepKind.SEQUENCE, self._arguments[address], size, source, operand, limit))

    def _add_bytes(self, name: str, address: str, count: str) -> None:
        if self._options.buffer_bytes:
            self._add_sequence(name, _U8, 1, address, count, self._options.buffer_bytes)

    def _add_text(self, name: str, address: str, count: str) -> None:
        """Text of a length that the call tells; it need not end in NUL."""
        source, operand = self._count(count)
        length = FieldLocation(Scope.EVENT_PAYLOAD, (_length(name),))
        self.members += [Member(_length(name), _U32), Member(name, DynamicStringField(length=length))]
        self.steps.append(Step(StepKind.SEQUENCE, self._arguments[address], 1, source, operand, _MAX_TEXT))

    def _add_iovecs(self, name: str, address: str, count: str) -> None:
        self._add_sequence(name, _IOVEC, 16, address, count, _MAX_VECTOR)

    def _add_int32s(self, name: str, address: str, count: str) -> None:
        length = int(count)
        self._add(
            ArrayField(element=_I32, length=length),
            name,
            Step(StepKind.FIXED, self._arguments[address], 4 * length),
        )

    def _add_deref(self, name: str, address: str) -> None:
        self._add(_I32, name, Step(StepKind.FIXED, self._arguments[address], 4))

    def _add_struct(self, name: str, address: str, size: str | None = None) -> None:
        """A structure, as a sequence of one; of none where it cannot be read or is shorter than the kernel's."""
        match = _STRUCT_POINTER.match(self._call.arguments[self._arguments[address]].c_type)
        lookup = self._options.structs
        if match is None or lookup is None or (field := lookup(match["name"])) is None:
            return
        bits = sum_bits(field)
        if bits > _MAX_STRUCT * 8:
            return
        self.members += _sequence(name, field, _U8)
        self.steps.append(
            Step(
                StepKind.FIXED,
                self._arguments[address],
                bits // 8,
                _Count.ARGUMENT if size is not None else _Count.CONSTANT,
                self._arguments[size] if size is not None else 0,
                1,
            )
        )

    def _add_sockaddr(self, name: str, address: str, length: str) -> None:
        source, operand = self._count(length)
        self.members += [Member("family", _U16), Member(name, IntegerField(size=16, byte_order=_BIG))]
        self.members += _sequence("v4addr", IntegerField(size=8, byte_order=_BIG))
        self.members += _sequence("v6addr", IntegerField(size=16, byte_order=_BIG))
        self.members.append(Member("sun_path", StringField()))
        self.steps.append(Step(StepKind.SOCKADDR, self._arguments[address], 0, source, operand))

    def _add_fdset(self, name: str, address: str, count: str) -> None:
        self.members += _sequence(name, IntegerField(size=8, base=DisplayBase.HEXADECIMAL), _U8)
        self.steps.append(
            Step(StepKind.FDSET, self._arguments[address], 1, _Count.ARGUMENT, self._arguments[count], _FDSET_BYTES)
        )

    def _add_fdset_overflow(self, name: str, count: str) -> None:
        self._add(_U8, name, Step(StepKind.FDSET_OVERFLOW, self._arguments[count], limit=_FDSET_BYTES))

    def _add_pollfds(self, name: str, address: str, count: str, overflow: str | None = None) -> None:
        self.members.append(Member("fds_length", _U32))
        if overflow:
            self.members.append(Member(overflow, _U8))
        location = FieldLocation(Scope.EVENT_PAYLOAD, ("fds_length",))
        self.members.append(Member(name, SequenceField(element=_POLLFD, length=location)))
        self.steps.append(
            Step(
                StepKind.POLLFDS,
                self._arguments[address],
                int(overflow is not None),
                _Count.ARGUMENT,
                self._arguments[count],
                _MAX_VECTOR,
            )
        )

    def _add_epoll_op(self, name: str, argument: str) -> None:
        self._add(_EPOLL_OP, name, Step(StepKind.INTEGER, self._arguments[argument], 4))

    def _add_epoll_event(self, name: str, address: str) -> None:
        self._add(_EPOLL_EVENT, name, Step(StepKind.EPOLL_EVENT, self._arguments[address]))

    def _add_epoll_events(self, name: str, address: str, count: str) -> None:
        self.members += [Member("fds_length", _U32), Member("overflow", _U8)]
        location = FieldLocation(Scope.EVENT_PAYLOAD, ("fds_length",))
        self.members.append(Member(name, SequenceField(element=_EPOLL_EVENT, length=location)))
        source, operand = self._count(count)
        self.steps.append(Step(StepKind.EPOLL_EVENTS, self._arguments[address], 0, source, operand, _MAX_VECTOR))

    def _add_strings(self, name: str, address: str) -> None:
        if name == "environment" and not self._options.environment:
            return
        self.members += _sequence(name, StringField())
        self.steps.append(Step(StepKind.STRINGS, self._arguments[address], limit=_MAX_VECTOR))

    def add_structs(self) -> None:
        """Add the structures that the arguments point to and that no token has named: inputs are const."""
        named = {token.partition("=")[0] for tokens in _declared().get(self._call.name, ((), ())) for token in tokens}
        for argument in self._call.arguments:
            match = _STRUCT_POINTER.match(argument.c_type)
            if match is None or match["name"] in _OPAQUE_STRUCTS or f"{argument.name}_value" in named:
                continue
            if bool(match["const"]) != self._on_exit:
                self._add_struct(f"{argument.name}_value", argument.name)

    def layout(self) -> EventLayout:
        return EventLayout(StructField(members=tuple(self.members)), tuple(self.steps))


def sum_bits(field: Field) -> int:
    """Return the size in bits of a field of a constant size."""
    if isinstance(field, StructField):
        return sum(sum_bits(member.field) for member in field.members)
    if isinstance(field, ArrayField):
        return field.length * sum_bits(field.element)
    size = getattr(field, "size", None)
    if size is None:  # a static string: its length is in bytes
        size = 8 * getattr(field, "length", 0)
    return int(size)


def _default_tokens(call: Syscall) -> Iterator[str]:
    for argument in call.arguments:
        is_string = _CONST_STRING.fullmatch(argument.c_type) and argument.name not in _NOT_STRINGS
        yield f"{argument.name}:string" if is_string else argument.name


def syscall_layouts(call: Syscall, options: LayoutOptions) -> tuple[EventLayout, EventLayout]:
    """Return the layouts of a system call's entry and exit."""
    entry_tokens, exit_tokens = _declared().get(call.name, (None, ()))
    names = {argument.name for argument in call.arguments}
    if entry_tokens is not None and any(_operands(token) - names for token in entry_tokens + exit_tokens):
        entry_tokens, exit_tokens = None, ()  # an ABI whose arguments are called otherwise
    entry = _Builder(call, options, on_exit=False)
    for token in entry_tokens if entry_tokens is not None else _default_tokens(call):
        entry.add(token)
    entry.add_structs()
    exit_ = _Builder(call, options, on_exit=True)
    exit_._add(_integer(call.result), "ret", Step(StepKind.RESULT, size=8))
    for token in exit_tokens:
        exit_.add(token)
    exit_.add_structs()
    return entry.layout(), exit_.layout()


def _operands(token: str) -> set[str]:
    """Return the arguments that a token needs."""
    match = _TOKEN.fullmatch(token)
    if match is None or not match["kind"]:
        return {token.partition(":")[0]}
    return {
        operand.removeprefix("*")
        for operand in match["operands"].split(",")
        if operand not in ("ret", "overflow") and not operand.isdigit()
    }
