"""Model to the native decoder's plan: programs for every event class, columns for those that are wanted.

Columns of a table, in this order: ``timestamp`` (ns), ``stream`` (number of the stream in the trace), the integers of
the packet's context that describe its events (``cpu_id``), the fields of the common context, of the event's own
context, and of its payload. A name that several of these have gets the prefix ``packet.``, ``context.`` or
``event_context.`` in all but the payload. Structures become Arrow structures, arrays lists, a variant a structure of
its options with one of them not null; an option is null where it is not there; enumerations are their numbers. What
can hold no value (LTTng's padding: structures without members) has no column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from boxtrace.collector import paused_collector
from boxtrace.ctf.decode import least_bits, locations
from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    ByteOrder,
    DynamicBlobField,
    DynamicStringField,
    Encoding,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.layout import align_up, alignment_of
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass
from boxtrace.ctf.plan import BitsFlag, Choice, Column, ColumnKind, EventPlan, Leaf, Op, OpCode, Plan, PlanRole

__all__ = ["Keep", "StreamPlan", "column_names", "is_empty"]

_FIXED = IntegerField | BoolField | BitArrayField | BitMapField | FloatField
_PREFIX = {
    Scope.PACKET_CONTEXT: "packet.",
    Scope.EVENT_COMMON_CONTEXT: "context.",
    Scope.EVENT_SPECIFIC_CONTEXT: "event_context.",
    Scope.EVENT_PAYLOAD: "",
}
_BIG_ENDIAN = BitsFlag.BIG_ENDIAN.value
_SIGNED = BitsFlag.SIGNED.value
_REVERSED = BitsFlag.REVERSED.value
_BOOLEAN = BitsFlag.BOOLEAN.value
_FLOAT = BitsFlag.FLOAT.value
_MOST_UNFILLED = 256
"""Elements that a null of a list of fixed size may take."""
TIMESTAMP = "timestamp"
STREAM = "stream"


Keep: TypeAlias = Callable[[EventClass], Callable[[str], bool] | None]
"""Tells which columns of an event class are wanted: None if no rows of it are."""


def column_names(stream: StreamClass, event: EventClass) -> list[tuple[str, Scope | None, str]]:
    """Return the columns of an event class: name, the scope that the field is in (None for the first two), its name."""
    columns: list[tuple[Scope | None, str]] = [(None, TIMESTAMP), (None, STREAM)]
    columns.extend((Scope.PACKET_CONTEXT, member.name) for member in _packet_members(stream))
    for scope, root in (
        (Scope.EVENT_COMMON_CONTEXT, stream.event_context),
        (Scope.EVENT_SPECIFIC_CONTEXT, event.context),
        (Scope.EVENT_PAYLOAD, event.fields),
    ):
        members = () if root is None else root.members
        columns.extend((scope, member.name) for member in members if not is_empty(member.field))
    names = [name for _, name in columns]
    if len(set(names)) == len(names):
        return [(name, at, name) for at, name in columns]
    counts = Counter(names)
    named: list[tuple[str, Scope | None, str]] = []
    for at, name in columns:
        prefix = "" if at is None or counts[name] == 1 else _PREFIX[at]
        if at is Scope.EVENT_PAYLOAD and name in (TIMESTAMP, STREAM):
            prefix = "payload."
        named.append((prefix + name, at, name))
    return named


def _packet_members(stream: StreamClass) -> Iterator[Member]:
    for member in () if stream.packet_context is None else stream.packet_context.members:
        if isinstance(member.field, IntegerField) and not member.field.roles:
            yield member


class StreamPlan:
    """A plan for the packets of a stream class. Event classes are added when they are met: few of a trace's occur.

    :param keep: what is wanted.
    :param raw_text: UTF-8 is kept as it is, valid or not, in columns of bytes.
    """

    def __init__(self, stream: StreamClass, clock: ClockClass | None, keep: Keep, *, raw_text: bool = False) -> None:
        self.stream = stream
        self.plan = plan = Plan(clock)
        for location in _stream_locations(stream):
            plan.slots.setdefault(location, len(plan.slots))
        self.packet_columns = tuple(member.name for member in _packet_members(stream))
        """Names in the packet's context whose values go to columns, after the number of the stream."""
        packet = (Scope.PACKET_HEADER, Scope.PACKET_CONTEXT)
        self.packet_slots = tuple(location for location in plan.slots if location.scope in packet)
        """Fields of the packet's header and context whose values records refer to."""
        self.events: list[EventClass] = []
        """In the order of the plan's events."""
        self.fields: list[dict[tuple[Scope, str], int]] = []
        """For each of them, the columns of the members of its root structures; none if it is not wanted."""
        self.tables: list[EventClass] = []
        """Those that are wanted, in the order of the plan's tables."""
        self._keep = keep
        self._compiler = _Compiler(plan, raw_text)
        self._declared: dict[int, EventClass] = {}
        for event in stream.events:
            self._declared.setdefault(event.id, event)
        self._added: set[int] = set()
        if stream.event_header is not None:
            plan.header = plan.add_program(self._compiler.root(Scope.EVENT_HEADER, stream.event_header, {}))
        if len(stream.events) == 1:
            plan.only_event = 0
            self.add(stream.events[0].id)

    def add(self, number: int) -> bool:
        """Add the event class of an id, if it is not there yet; False if none is declared."""
        event = self._declared.get(number)
        if event is None or number in self._added:
            return event is not None
        self._added.add(number)
        plan, keep = self.plan, self._keep(event)
        if keep is None:
            fields: dict[tuple[Scope, str], int] = {}
            plan.events.append(EventPlan(number, plan.add_program(self._compiler.record(self.stream, event, fields))))
        else:
            table, fields = _table(plan, self._compiler, self.stream, event, keep, self.packet_columns)
            plan.tables.append(table)
            self.tables.append(event)
        self.events.append(event)
        self.fields.append(fields)
        return True


@paused_collector()
def _stream_locations(stream: StreamClass) -> dict[FieldLocation, None]:
    """Return what lengths and selectors of a stream class refer to, once each."""
    roots = [stream.packet_context, stream.event_header, stream.event_context]
    roots += [root for event in stream.events for root in (event.context, event.fields)]
    return dict.fromkeys(location for root in roots for location in locations(root))


def _table(
    plan: Plan,
    compiler: _Compiler,
    stream: StreamClass,
    event: EventClass,
    keep: Callable[[str], bool],
    packet_names: Sequence[str],
) -> tuple[int, dict[tuple[Scope, str], int]]:
    """Add an event class with the columns of its table; return the column that holds them all, and those of fields."""
    space = plan.new_space()
    planned = EventPlan(event.id, -1, space)
    children = []
    fields: dict[tuple[Scope, str], int] = {}
    roots = {
        Scope.EVENT_COMMON_CONTEXT: stream.event_context,
        Scope.EVENT_SPECIFIC_CONTEXT: event.context,
        Scope.EVENT_PAYLOAD: event.fields,
    }
    for name, scope, own in column_names(stream, event):
        if not keep(name) or (name == TIMESTAMP and plan.clock is None):
            continue
        if scope is None or scope is Scope.PACKET_CONTEXT:
            kind = ColumnKind.INTEGER if name == TIMESTAMP or _is_signed(stream, own) else ColumnKind.UNSIGNED
            column = plan.add_column(Column(kind, name, space, width=8))
            if name == TIMESTAMP:
                planned.time_column = column
            else:
                planned.packet_columns.append((column, 0 if scope is None else 1 + packet_names.index(own)))
        else:
            root = roots[scope]
            found = None if root is None else root.find(own)
            assert found is not None
            column = compiler.column(found, name, space, nullable=False)
            fields[scope, own] = column
        children.append(column)
    planned.program = plan.add_program(compiler.record(stream, event, fields))
    plan.events.append(planned)
    return plan.add_column(Column(ColumnKind.STRUCT, event.name, space, children=children)), fields


def _is_signed(stream: StreamClass, name: str) -> bool:
    found = None if stream.packet_context is None else stream.packet_context.find(name)
    return isinstance(found, IntegerField) and found.signed


@dataclass(slots=True)
class _Run:
    """Numbers on bytes, one after another: laid out when the run ends."""

    align: int = 1
    size: int = 0
    leaves: list[Leaf] = field(default_factory=list)


class _Compiler:
    def __init__(self, plan: Plan, raw_text: bool) -> None:
        self._plan = plan
        self._raw_text = raw_text
        self._skipped: dict[tuple[Scope, int], list[Op]] = {}
        """Programs of root structures of which no column is wanted, by scope and the structure's id."""

    # --- columns ---

    def column(self, fc: FieldClass, name: str, space: int, *, nullable: bool, unfilled: int | None = None) -> int:
        """Add the column of a field class, and what is inside it.

        :param unfilled: how many rows this column has for each row without a value of what is around it; None if that
            always has one.
        """
        plan = self._plan
        if nullable and unfilled is None:
            unfilled = 1

        def simple(kind: ColumnKind, width: int = 0) -> int:
            return plan.add_column(Column(kind, name, space, width, nullable))

        match fc:
            case BoolField():
                return simple(ColumnKind.BOOLEAN, 1)
            case IntegerField() | BitArrayField() | BitMapField():
                signed = isinstance(fc, IntegerField) and fc.signed
                return simple(ColumnKind.INTEGER if signed else ColumnKind.UNSIGNED, _WIDTHS[fc.size])
            case VarIntField():
                return simple(ColumnKind.INTEGER if fc.signed else ColumnKind.UNSIGNED, 8)
            case FloatField():
                return simple(ColumnKind.FLOAT, 4 if fc.size <= 32 else 8)
            case StringField() | StaticStringField() | DynamicStringField():
                raw = self._raw_text and fc.encoding is Encoding.UTF_8
                return simple(ColumnKind.BYTES if raw else ColumnKind.TEXT)
            case BlobField() | DynamicBlobField():
                return simple(ColumnKind.BYTES)
            case StructField():
                # Inside a structure that is null it does not matter what its members hold.
                shown = [m for m in fc.members if not is_empty(m.field)]
                children = [self.column(m.field, m.name, space, nullable=False, unfilled=unfilled) for m in shown]
                return plan.add_column(Column(ColumnKind.STRUCT, name, space, 0, nullable, children=children))
            case VariantField():
                filled = [o for o in fc.options if not is_empty(o.field)]
                options = [self.column(o.field, o.name, space, nullable=True, unfilled=unfilled) for o in filled]
                return plan.add_column(Column(ColumnKind.STRUCT, name, space, 0, nullable, children=options))
            case OptionField():
                return self.column(fc.field, name, space, nullable=True, unfilled=unfilled)
            case ArrayField() | SequenceField():
                inner = plan.new_space()
                width = fc.length if isinstance(fc, ArrayField) else 0
                inside = None if unfilled is None else unfilled * width
                # Arrow gives a list of fixed size its elements where it is null, too: of a big array in an option that
                # is not chosen, each record of a few bytes would take all the room. polars refuses lists of width 0.
                fixed = width > 0 and (inside is None or inside <= _MOST_UNFILLED)
                element = self.column(fc.element, "item", inner, nullable=False, unfilled=inside if fixed else None)
                kind, width = (ColumnKind.FIXED_LIST, width) if fixed else (ColumnKind.LIST, 0)
                return plan.add_column(Column(kind, name, space, width, nullable, inner, [element]))

    # --- programs ---

    def record(self, stream: StreamClass, event: EventClass, fields: dict[tuple[Scope, str], int]) -> list[Op]:
        """Return the program of what follows an event's header."""
        program: list[Op] = []
        for scope, root in (
            (Scope.EVENT_COMMON_CONTEXT, stream.event_context),
            (Scope.EVENT_SPECIFIC_CONTEXT, event.context),
            (Scope.EVENT_PAYLOAD, event.fields),
        ):
            if root is not None:
                program += self.root(scope, root, {own: column for (at, own), column in fields.items() if at is scope})
        return _joined(program)

    def root(self, scope: Scope, root: StructField, columns: dict[str, int]) -> list[Op]:
        """Return the program of a root structure; ``columns`` are those of its wanted members."""
        key = (scope, id(root))
        if not columns and key in self._skipped:
            return self._skipped[key]
        program = [Op(OpCode.ALIGN, align=alignment_of(root))]
        for member in root.members:
            program += self._field(scope, member.field, (member.name,), columns.get(member.name, -1))
        program = _joined(program)
        if not columns:
            self._skipped[key] = program
        return program

    def _field(self, scope: Scope, fc: FieldClass, path: tuple[str, ...], column: int) -> list[Op]:
        slot = self._plan.slots.get(FieldLocation(scope, path), -1)
        match fc:
            case IntegerField() | BoolField() | BitArrayField() | BitMapField() | FloatField():
                return [_number(fc, column, slot)]
            case VarIntField():
                flags = BitsFlag.SIGNED if fc.signed else 0
                return [Op(OpCode.LEB128, 8, flags=flags, role=PlanRole.of(fc.roles), column=column, slot=slot)]
            case StringField():
                return [Op(OpCode.STRING, 8, column=column, encoding=fc.encoding)]
            case StaticStringField():
                return [Op(OpCode.TEXT, 8, column=column, length=fc.length, encoding=fc.encoding)]
            case DynamicStringField():
                return [self._dynamic(OpCode.TEXT, fc.length, column, fc.encoding)]
            case BlobField():
                return [Op(OpCode.BLOB, 8, column=column, length=fc.length)]
            case DynamicBlobField():
                return [self._dynamic(OpCode.BLOB, fc.length, column, Encoding.UTF_8)]
            case StructField():
                return self._struct(scope, fc, path, column)
            case ArrayField() | SequenceField():
                return [self._array(scope, fc, path, column)]
            case VariantField():
                return [self._variant(scope, fc, path, column)]
            case OptionField():
                return [self._option(scope, fc, path, column)]

    def _dynamic(self, code: OpCode, length: FieldLocation, column: int, encoding: Encoding) -> Op:
        return Op(code, 8, column=column, slot=self._plan.slots[length], encoding=encoding)

    def _children(self, column: int, fields: Sequence[FieldClass]) -> list[int]:
        """Return the columns of the parts of a field: -1 for what has none."""
        if column < 0:
            return [-1] * len(fields)
        children = iter(self._plan.columns[column].children)
        return [-1 if is_empty(field) else next(children) for field in fields]

    def _struct(self, scope: Scope, fc: StructField, path: tuple[str, ...], column: int) -> list[Op]:
        program = [Op(OpCode.ALIGN, align=alignment_of(fc))]
        children = self._children(column, [member.field for member in fc.members])
        for member, child in zip(fc.members, children, strict=True):
            program += self._field(scope, member.field, (*path, member.name), child)
        return program

    def _array(self, scope: Scope, fc: ArrayField | SequenceField, path: tuple[str, ...], column: int) -> Op:
        child = self._children(column, [fc.element])[0]
        element = self._plan.add_program(_joined(self._field(scope, fc.element, path, child)))
        return Op(
            OpCode.ARRAY,
            align=alignment_of(fc),
            column=column,
            slot=-1 if isinstance(fc, ArrayField) else self._plan.slots[fc.length],
            length=fc.length if isinstance(fc, ArrayField) else 0,
            least=least_bits(fc.element),
            program=element,
        )

    def _variant(self, scope: Scope, fc: VariantField, path: tuple[str, ...], column: int) -> Op:
        choices = []
        children = self._children(column, [option.field for option in fc.options])
        for option, child in zip(fc.options, children, strict=True):
            program = self._plan.add_program(_joined(self._field(scope, option.field, path, child)))
            choices.append(Choice(program, child, option.ranges))
        signed = any(low < 0 for option in fc.options for low, _ in option.ranges)
        flags = BitsFlag.SIGNED if signed else 0
        return Op(OpCode.VARIANT, flags=flags, column=column, slot=self._plan.slots[fc.selector], choices=choices)

    def _option(self, scope: Scope, fc: OptionField, path: tuple[str, ...], column: int) -> Op:
        program = self._plan.add_program(_joined(self._field(scope, fc.field, path, column)))
        ranges = fc.ranges or ()
        signed = any(low < 0 for low, _ in ranges)
        return Op(
            OpCode.OPTION,
            flags=BitsFlag.SIGNED if signed else 0,
            column=column,
            slot=self._plan.slots[fc.selector],
            program=program,
            by_ranges=fc.ranges is not None,
            choices=[] if fc.ranges is None else [Choice(program, column, ranges)],
        )


def is_empty(fc: FieldClass) -> bool:
    """Tell whether a field can hold no value at all."""
    match fc:
        case StructField():
            return all(is_empty(member.field) for member in fc.members)
        case ArrayField() | SequenceField():
            return is_empty(fc.element)
        case VariantField():
            return all(is_empty(option.field) for option in fc.options)
        case OptionField():
            return is_empty(fc.field)
        case _:
            return False


_WIDTHS = tuple(1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8 for bits in range(65))
"""Bytes of the smallest number that so many bits fit in."""


def _number(fc: _FIXED, column: int, slot: int) -> Op:
    # Plain numbers, not members of the enum: traces have ten thousand fields.
    flags = _BIG_ENDIAN if fc.byte_order is ByteOrder.BIG else 0
    role = PlanRole.NONE
    if isinstance(fc, IntegerField):
        if fc.roles:
            role = PlanRole.of(fc.roles)
        if fc.signed:
            flags |= _SIGNED
    elif isinstance(fc, BoolField):
        flags |= _BOOLEAN
    elif isinstance(fc, FloatField):
        flags |= _FLOAT
    if fc.reversed_bits:
        flags |= _REVERSED
    return Op(OpCode.BITS, fc.align, fc.size, flags, role, column, slot)


def _joined(program: list[Op]) -> list[Op]:
    """Put numbers on bytes that follow one another into runs, which are decoded without looking at each."""
    result: list[Op] = []
    run: _Run | None = None

    def end_run() -> None:
        nonlocal run
        if run is not None and (run.size or run.align > 1):
            result.append(Op(OpCode.RUN, align=run.align, size=run.size, leaves=run.leaves))
        run = None

    for op in program:
        if op.code is OpCode.ALIGN and op.align == 1:
            continue
        leaf = _leaf(op)
        if leaf is None and not (op.code is OpCode.ALIGN and run is not None and op.align <= run.align):
            if op.code is OpCode.RUN and run is None:
                run = _Run(op.align, op.size, list(op.leaves))
                continue
            end_run()
            result.append(op)
            continue
        # The layout is constant only from a start that is aligned for every leaf.
        if run is None or op.align > run.align:
            end_run()
            run = _Run(max(op.align, 8))
        run.size = align_up(run.size * 8, op.align) // 8
        if leaf is not None:
            leaf.offset = run.size
            if leaf.column >= 0 or leaf.slot >= 0 or leaf.role:
                run.leaves.append(leaf)
            run.size += leaf.width
    end_run()
    return result


def _leaf(op: Op) -> Leaf | None:
    """Return a number as a leaf of a run, None if it is none: not on bytes, or in need of a conversion."""
    plain = op.code is OpCode.BITS and op.size in (8, 16, 32, 64) and op.align % 8 == 0
    if not plain or op.flags & (_REVERSED | _BOOLEAN) or (op.flags & _FLOAT and op.size < 32):
        return None
    signed = op.flags & _SIGNED != 0
    return Leaf(0, op.size // 8, op.flags & _BIG_ENDIAN != 0, signed, op.role, op.column, op.slot)
