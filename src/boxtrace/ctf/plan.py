"""The native decoder's plan: what to decode and which columns to fill, compiled from the model.

The numbers of the enums are those of ``native/core/ctf_plan.hpp``. A plan is a list of 64-bit words and a list of
names; its layout is what ``read_plan`` there reads. It grows: what was added later is written in the same form.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from boxtrace.ctf.fields import Encoding, FieldLocation, Ranges, Role
from boxtrace.ctf.model import ClockClass

__all__ = [
    "BitsFlag",
    "Choice",
    "Column",
    "ColumnKind",
    "EventPlan",
    "Leaf",
    "Op",
    "OpCode",
    "Plan",
    "PlanRole",
    "PlanSize",
    "signed_word",
]


class ColumnKind(IntEnum):
    """What a column holds."""

    INTEGER = 0
    UNSIGNED = 1
    FLOAT = 2
    BOOLEAN = 3
    TEXT = 4
    BYTES = 5
    LIST = 6
    FIXED_LIST = 7
    STRUCT = 8


class OpCode(IntEnum):
    """One step of a program."""

    RUN = 0
    BITS = 1
    LEB128 = 2
    STRING = 3
    TEXT = 4
    BLOB = 5
    ALIGN = 6
    ARRAY = 7
    VARIANT = 8
    OPTION = 9


class PlanRole(IntEnum):
    """What the decoder itself does with a value."""

    NONE = 0
    EVENT_ID = 1
    CLOCK = 2

    @classmethod
    def of(cls, roles: Iterable[Role]) -> PlanRole:
        """Return the one that matters inside event records."""
        names = set(roles)
        return cls.EVENT_ID if Role.EVENT_ID in names else cls.CLOCK if Role.TIMESTAMP in names else cls.NONE


class BitsFlag(IntFlag):
    """How the bits of a number are read."""

    BIG_ENDIAN = 1
    SIGNED = 2
    REVERSED = 4
    BOOLEAN = 8
    FLOAT = 16


_ENCODINGS = list(Encoding)
"""In the order of the native enum."""


@dataclass(slots=True)
class Column:
    """A column; ``space`` is the number of the row space that it belongs to."""

    kind: ColumnKind
    name: str
    space: int
    width: int = 0
    nullable: bool = False
    child_space: int = -1
    children: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Leaf:
    """A number on a byte in a run of constant layout; ``offset`` and ``width`` in bytes."""

    offset: int
    width: int
    swap: bool
    signed: bool
    role: PlanRole
    column: int
    slot: int


@dataclass(slots=True)
class Choice:
    """An option of a variant: the program that decodes it and the column that it fills."""

    program: int
    column: int
    ranges: Ranges


@dataclass(slots=True)
class Op:
    """A step; which fields count depends on the code."""

    code: OpCode
    align: int = 1
    size: int = 0
    flags: int = 0
    role: PlanRole = PlanRole.NONE
    column: int = -1
    slot: int = -1
    length: int = 0
    least: int = 0
    program: int = -1
    by_ranges: bool = False
    encoding: Encoding = Encoding.UTF_8
    leaves: list[Leaf] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


@dataclass(slots=True)
class EventPlan:
    """How records of an event class are decoded; ``space`` is -1 if they are not wanted."""

    id: int
    program: int
    space: int = -1
    time_column: int = -1
    packet_columns: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How much of a plan there was at some time."""

    columns: int = 0
    programs: int = 0
    events: int = 0
    tables: int = 0


@dataclass(slots=True)
class Plan:
    """Everything that the native decoder needs to know of one stream class."""

    clock: ClockClass | None
    header: int = -1
    only_event: int = -1
    spaces: int = 0
    columns: list[Column] = field(default_factory=list)
    programs: list[list[Op]] = field(default_factory=list)
    events: list[EventPlan] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    slots: dict[FieldLocation, int] = field(default_factory=dict)

    def new_space(self) -> int:
        """Return the number of a new row space."""
        self.spaces += 1
        return self.spaces - 1

    def add_column(self, column: Column) -> int:
        """Add a column and return its number."""
        self.columns.append(column)
        return len(self.columns) - 1

    def add_program(self, program: list[Op]) -> int:
        """Add a program and return its number."""
        self.programs.append(program)
        return len(self.programs) - 1

    @property
    def size(self) -> PlanSize:
        """How much there is now."""
        return PlanSize(len(self.columns), len(self.programs), len(self.events), len(self.tables))

    def words(self, since: PlanSize = PlanSize()) -> array[int]:
        """Return the plan as 64-bit words, or only what was added to it later."""
        out = array("q")
        clock = self.clock
        base, frequency = (0, 1_000_000_000) if clock is None else (clock.base_ns, clock.frequency)
        head = (self.spaces, len(self.slots), self.header, self.only_event, clock is not None, base, frequency)
        out.extend(head)
        columns = self.columns[since.columns :]
        out.append(len(columns))
        for number, column in enumerate(columns):
            width = min(column.width, _MOST_WIDTH)
            out.extend((column.kind, width, column.nullable, column.space, column.child_space, number))
            out.append(len(column.children))
            out.extend(column.children)
        programs = self.programs[since.programs :]
        out.append(len(programs))
        for program in programs:
            out.append(len(program))
            for op in program:
                _put_op(out, op)
        events = self.events[since.events :]
        out.append(len(events))
        for event in events:
            out.extend(
                (signed_word(event.id), event.program, event.space, event.time_column, len(event.packet_columns))
            )
            for pair in event.packet_columns:
                out.extend(pair)
        tables = self.tables[since.tables :]
        out.append(len(tables))
        out.extend(tables)
        return out

    def names(self, since: PlanSize = PlanSize()) -> list[str]:
        """Return the names that the words refer to."""
        return [column.name for column in self.columns[since.columns :]]


_MOST_LENGTH = 1 << 62
_MOST_WIDTH = (1 << 31) - 1
"""What is longer is in no packet, and needs not be told exactly."""


def signed_word(value: int) -> int:
    """Return the 64-bit word with the bits of a number: one from 2**63 on becomes negative."""
    return (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)


def _put_ranges(out: array[int], ranges: Ranges) -> None:
    out.append(len(ranges))
    for low, high in ranges:
        out.extend((signed_word(low), signed_word(high)))


def _put_op(out: array[int], op: Op) -> None:
    length, least = min(op.length, _MOST_LENGTH), min(op.least, _MOST_LENGTH)
    out.extend((op.code, op.align, op.size, op.flags, op.role, op.column, op.slot, length, least, op.program))
    out.extend((op.by_ranges, _ENCODINGS.index(op.encoding), len(op.leaves)))
    for leaf in op.leaves:
        out.extend((leaf.offset, leaf.width, leaf.swap, leaf.signed, leaf.role, leaf.column, leaf.slot))
    out.append(len(op.choices))
    for choice in op.choices:
        out.extend((choice.program, choice.column))
        _put_ranges(out, choice.ranges)
