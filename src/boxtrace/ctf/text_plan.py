"""The native core's text format: how the rows of a plan are shown, from the model.

The numbers of the codes are those of ``native/core/ctf_text.hpp``. What each field class looks like is defined by
:mod:`boxtrace.view.values`; tests compare the two.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    DynamicBlobField,
    EnumMapping,
    FieldClass,
    FloatField,
    IntegerField,
    OptionField,
    SequenceField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.model import StreamClass
from boxtrace.ctf.plan import Plan, signed_word
from boxtrace.ctf.plan_compile import is_empty

__all__ = ["TextCode", "TextFormat", "can_show"]


class TextCode(IntEnum):
    """One piece of a line."""

    LITERAL = 0
    NUMBER = 1
    REAL = 2
    TRUTH = 3
    QUOTED = 4
    HEX = 5
    ARRAY = 6
    VARIANT = 7
    OPTION = 8


@dataclass(slots=True)
class _TextOp:
    code: TextCode
    column: int = -1
    base: int = 10
    bits: int = 64
    signed: bool = False
    literal: str = ""
    program: int = -1
    mappings: tuple[EnumMapping, ...] = ()
    options: list[tuple[int, int]] = field(default_factory=list)


def can_show(stream: StreamClass) -> bool:
    """Tell whether all events can be shown from columns: not what occurs in numbers, or not at all, without a value."""
    roots = [stream.event_context, *(root for event in stream.events for root in (event.context, event.fields))]
    return all(_has_columns(root) for root in roots if root is not None)


def _has_columns(fc: FieldClass) -> bool:
    match fc:
        case StructField():
            return all(_has_columns(member.field) for member in fc.members)
        case VariantField():
            return all(_has_columns(option.field) for option in fc.options)
        case ArrayField() | SequenceField():
            return not is_empty(fc.element) and _has_columns(fc.element)
        case OptionField():
            return not is_empty(fc.field) and _has_columns(fc.field)
        case _:
            return True


class TextFormat:
    """Programs that show the rows of a plan's event classes, of a stream class that :func:`can_show` is true of.

    :param quote: how the label of an enumeration is shown.
    """

    def __init__(self, plan: Plan, quote: Callable[[str], str]) -> None:
        self._plan = plan
        self._quote = quote
        self._programs: list[list[_TextOp]] = []
        self._events: list[tuple[int, str]] = []
        self._told = (0, 0)

    def add_unwanted(self) -> None:
        """Add the next event class of the plan, of which there are no rows."""
        self._events.append((-1, ""))

    def add_event(self, head: str, roots: Sequence[tuple[StructField, dict[str, int]]], *, after_context: bool) -> None:
        """Add the next event class of the plan.

        :param head: what comes before the packet's context.
        :param roots: the structures that are shown, each with the columns of its members.
        :param after_context: a packet's context comes before them.
        """
        program: list[_TextOp] = []
        for index, (root, columns) in enumerate(roots):
            if index or after_context:
                self._literal(program, ", ")
            self._struct(program, root, [columns.get(member.name, -1) for member in root.members])
        self._programs.append(program)
        self._events.append((len(self._programs) - 1, head))

    def _literal(self, program: list[_TextOp], text: str) -> None:
        if program and program[-1].code is TextCode.LITERAL:
            program[-1].literal += text
        else:
            program.append(_TextOp(TextCode.LITERAL, literal=text))

    def _value(self, program: list[_TextOp], op: _TextOp) -> None:
        """Append a value, with the literal before it as its own."""
        if program and program[-1].code is TextCode.LITERAL:
            op.literal = program.pop().literal
        program.append(op)

    def _struct(self, program: list[_TextOp], fc: StructField, columns: Sequence[int]) -> None:
        self._literal(program, "{")
        for index, (member, column) in enumerate(zip(fc.members, columns, strict=True)):
            self._literal(program, f"{', ' if index else ' '}{member.name} = ")
            self._field(program, member.field, column)
        self._literal(program, " }")

    def _children(self, column: int, fields: Sequence[FieldClass]) -> list[int]:
        if column < 0:
            return [-1] * len(fields)
        children = iter(self._plan.columns[column].children)
        return [-1 if is_empty(fc) else next(children) for fc in fields]

    def _program(self, fc: FieldClass, column: int) -> int:
        program: list[_TextOp] = []
        self._field(program, fc, column)
        self._programs.append(program)
        return len(self._programs) - 1

    def _field(self, program: list[_TextOp], fc: FieldClass, column: int) -> None:
        match fc:
            case IntegerField():
                op = _TextOp(TextCode.NUMBER, column, fc.base, fc.size, fc.signed, mappings=fc.mappings)
                self._value(program, op)
            case VarIntField():
                op = _TextOp(TextCode.NUMBER, column, fc.base, 64, fc.signed, mappings=fc.mappings)
                self._value(program, op)
            case BitArrayField() | BitMapField():
                self._value(program, _TextOp(TextCode.NUMBER, column, 16))
            case BoolField():
                self._value(program, _TextOp(TextCode.TRUTH, column))
            case FloatField():
                self._value(program, _TextOp(TextCode.REAL, column))
            case BlobField() | DynamicBlobField():
                self._value(program, _TextOp(TextCode.HEX, column))
            case StructField():
                self._struct(program, fc, self._children(column, [member.field for member in fc.members]))
            case ArrayField() | SequenceField():
                element = self._program(fc.element, self._children(column, [fc.element])[0])
                self._value(program, _TextOp(TextCode.ARRAY, column, program=element))
            case VariantField():
                fields = [option.field for option in fc.options]
                columns = self._children(column, fields)
                options = [(child, self._program(inner, child)) for child, inner in zip(columns, fields, strict=True)]
                self._value(program, _TextOp(TextCode.VARIANT, column, options=options))
            case OptionField():
                self._value(program, _TextOp(TextCode.OPTION, column, program=self._program(fc.field, column)))
            case _:
                self._value(program, _TextOp(TextCode.QUOTED, column))

    def words(self) -> tuple[array[int], list[bytes]]:
        """Return what was added since the last call as 64-bit words, and the strings that they refer to."""
        programs, events = self._programs[self._told[0] :], self._events[self._told[1] :]
        self._told = (len(self._programs), len(self._events))
        strings: dict[bytes, int] = {}

        def string(text: str) -> int:
            return strings.setdefault(text.encode("utf-8", "surrogateescape"), len(strings))

        out = array("q", (len(programs),))
        for program in programs:
            out.append(len(program))
            for op in program:
                out.extend((op.code, op.column, op.base, op.bits, op.signed, bool(op.mappings)))
                out.extend((string(op.literal), op.program))
                # What is negative is no value of a number without sign.
                least, most = (-(1 << 63), (1 << 63) - 1) if op.signed else (0, (1 << 64) - 1)
                labels = [
                    (max(low, least), min(high, most), mapping.label)
                    for mapping in op.mappings
                    for low, high in mapping.ranges
                    if high >= least and low <= most
                ]
                out.append(len(labels))
                for low, high, label in labels:
                    out.extend((signed_word(low), signed_word(high), string(self._quote(label))))
                out.append(len(op.options))
                for pair in op.options:
                    out.extend(pair)
        out.append(len(events))
        for program_index, head in events:
            out.extend((program_index, string(head)))
        return out, list(strings)
