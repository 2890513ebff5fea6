"""Trace records of the kernel as events: payloads, LTTng's layouts, labels of values, names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    DynamicStringField,
    EnumMapping,
    FieldClass,
    IntegerField,
    SequenceField,
    StaticStringField,
    StringField,
)
from boxtrace.ctf.metadata import read_metadata
from boxtrace.kernel.catalogue import OWN_TRACEPOINTS, SCHED, build_catalogue
from boxtrace.kernel.tracefs import EventFormat, Tracefs, parse_format
from boxtrace.kernel.tracepoints import Copy, Tracepoints
from boxtrace.kernel.tracepoints.fields import kernel_layout
from boxtrace.kernel.tracepoints.layouts import LayoutField, fill_layout, lttng_events, parse_layouts
from boxtrace.kernel.tracepoints.model import merge_copies
from boxtrace.kernel.tracepoints.network import NETWORK_HEADERS
from boxtrace.kernel.tracepoints.symbols import print_symbols

LTTNG = Path(__file__).parents[1] / "data/lttng-kernel-trace/kernel/metadata"

COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""


def described(*fields: str, name: str = "probe", group: str = "test", shown: str = '""') -> EventFormat:
    """Parse a description whose fields are given as ``declaration offset size signed``."""
    lines = []
    for field in fields:
        declaration, offset, size, signed = field.rsplit(" ", 3)
        lines.append(f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};")
    text = "\n".join([f"name: {name}", "ID: 1", "format:", COMMON, *lines, "", f"print fmt: {shown}"])
    return parse_format(text, group)


def kind(field: FieldClass) -> str:
    """Spell a field's type as the table of LTTng's layouts does."""
    match field:
        case IntegerField():
            sign = "i" if field.signed else "u"
            hexadecimal = "x" if field.base is DisplayBase.HEXADECIMAL else ""
            return f"{sign}{field.size}{hexadecimal}{'be' if field.byte_order is ByteOrder.BIG else ''}"
        case StringField():
            return "string"
        case StaticStringField(length=length):
            return f"text{length}"
        case DynamicStringField():
            return "text<>"
        case ArrayField(element=element, length=length):
            return f"{kind(element)}[{length}]"
        case SequenceField(element=element):
            return f"{kind(element)}<>"
        case _:
            return type(field).__name__


def test_every_kind_of_field_is_in_the_payload() -> None:
    layout = kernel_layout(
        described(
            "int number 8 4 1",
            "char comm[16] 12 16 0",
            "void * address 32 8 0",
            "const char * reason 40 8 0",
            "__data_loc char[] name 48 4 0",
            "__rel_loc char[] path 52 4 0",
            "__data_loc u64[] addresses 56 4 0",
            "u8 mac[6] 60 6 0",
            "unsigned long table[4] 72 32 0",
            "struct in6_addr whole 104 16 0",
            "bool flag 120 1 0",
        )
    )
    assert [(member.name, kind(member.field)) for member in layout.members] == [
        ("number", "i32"),
        ("comm", "text16"),
        ("address", "u64x"),
        ("reason", "string"),
        ("name", "string"),
        ("path", "string"),
        ("_addresses_length", "u16"),
        ("addresses", "u64<>"),
        ("mac", "u8[6]"),
        ("table", "u64[4]"),
        ("whole", "u8[16]"),
        ("flag", "u8"),
    ]
    assert merge_copies(layout.copies) == (
        Copy("BT_COPY_BYTES", 8, 20),
        Copy("BT_COPY_BYTES", 32, 8),
        Copy("BT_COPY_POINTED", 40),
        Copy("BT_COPY_STRING", 48),
        Copy("BT_COPY_STRING", 52, relative=True),
        Copy("BT_COPY_SEQUENCE", 56, 2, width=3),
        Copy("BT_COPY_BYTES", 60, 6),
        Copy("BT_COPY_BYTES", 72, 49),
    )


def test_a_field_without_a_size_is_left_out() -> None:
    assert kernel_layout(described("char text[] 8 0 0", "int x 8 4 1")).copies == (Copy("BT_COPY_BYTES", 8, 4),)


@pytest.mark.parametrize(
    ("pairs", "labels"),
    [
        ('{ 0, "HI" }, { 1, "TIMER" }', {"HI": [0], "TIMER": [1]}),
        ('{ 0x10, "a, {b}" }, { (1 << 5), "c" }, { 010, "d" }', {"d": [8], "a, {b}": [16], "c": [32]}),
        ('{ 1UL, "same" }, { 3, "same" }, { 3, "late" }', {"same": [1, 3]}),
        ('{ (unsigned int)(1U << 2), "cast" }, { -1, "minus" }', {"cast": [4], "minus": [0xFFFFFFFF]}),
        ('{ ABS, "ABS" }, { (REL), "REL" }', {"ABS": [100], "REL": [101]}),
        ('{ 1 << 40, "too large" }, { 2 , "two"}', {"two": [2]}),
        ('{ UNKNOWN, "x" }, { 1, "y" }', {}),
    ],
)
def test_labels_are_read_from_how_the_kernel_prints(pairs: str, labels: dict[str, list[int]]) -> None:
    known = {("enum mode", "ABS"): 100, ("enum mode", "REL"): 101}

    def enumerator(c_type: str, name: str) -> int | None:
        return known.get((c_type, name))

    shown = f'"%s %d", __print_symbolic(REC->mode, {pairs}), REC->other'
    mappings = print_symbols(shown, "mode", "enum mode", 4, False, enumerator)
    assert {mapping.label: [low for low, _ in mapping.ranges] for mapping in mappings} == labels
    assert print_symbols(shown, "other", "int", 4, True, enumerator) == ()


def test_labels_become_an_enumeration() -> None:
    layout = kernel_layout(
        described("int vec 8 4 0", shown='"%s", __print_symbolic(REC->vec, { 0, "HI" }, { 1, "LO" })')
    )
    assert layout.members[0].field == IntegerField(
        size=32, mappings=(EnumMapping("HI", ((0, 0),)), EnumMapping("LO", ((1, 1),)))
    )


def fill(line: str, *fields: str, shown: str = '""') -> tuple[list[tuple[str, str]], tuple[Copy, ...]] | None:
    (event,) = parse_layouts(f"name test:probe {line}").values()
    filled = fill_layout(event.layouts[0], described(*fields, shown=shown))
    if filled is None:
        return None
    return [(member.name, kind(member.field)) for member in filled[0].members], filled[0].copies


def test_lttngs_order_types_and_sources_are_kept() -> None:
    filled = fill(
        "comm:text16 tid:i32=pid prio:i32=prio-100 gfp:u32=flags proto:u16be=proto rwbs:rwbs who:i32=@tid",
        "__data_loc char[] comm 8 4 0",
        "int prio 12 4 1",
        "int pid 16 4 1",
        "unsigned long flags 24 8 0",
        "u16 proto 32 2 0",
        "char rwbs[10] 34 10 0",
    )
    assert filled is not None
    assert filled[0] == [
        ("comm", "text16"),
        ("tid", "i32"),
        ("prio", "i32"),
        ("gfp", "u32"),
        ("proto", "u16be"),
        ("rwbs", "u32"),
        ("who", "i32"),
    ]
    assert filled[1] == (
        Copy("BT_COPY_COMM", 8),
        Copy("BT_COPY_BYTES", 16, 4),
        Copy("BT_COPY_INTEGER", 12, 4, width=4, add=-100, signed=True),
        Copy("BT_COPY_BYTES", 24, 4),
        Copy("BT_COPY_INTEGER", 32, 2, width=2, swapped=True),
        Copy("BT_COPY_RWBS", 34),
        Copy("BT_COPY_TID"),
    )


def test_strings_come_from_wherever_the_kernel_has_them() -> None:
    filled = fill(
        "a:string b:string c:string d:text<u64>",
        "__data_loc char[] a 8 4 0",
        "char b[32] 12 32 0",
        "const char * c 48 8 0",
        "__data_loc char[] d 56 4 0",
    )
    assert filled is not None
    assert filled[0] == [
        ("a", "string"),
        ("b", "string"),
        ("c", "string"),
        ("_d_length", "u64"),
        ("d", "text<>"),
    ]
    assert filled[1] == (
        Copy("BT_COPY_STRING", 8),
        Copy("BT_COPY_CHARACTERS", 12, 32),
        Copy("BT_COPY_POINTED", 48),
        Copy("BT_COPY_TEXT", 56, 8),
    )


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("x:i32", "int y 8 4 1"),
        ("x:string", "int x 8 4 1"),
        ("x:text16", "char x[8] 8 8 0"),
        ("x:i32", "__data_loc char[] x 8 4 0"),
        ("x:i64[3]", "long x[4] 8 32 1"),
        ("x:u8<u32>", "__data_loc u64[] x 8 4 0"),
        ("x:i32", "struct thing x 8 12 0"),
    ],
)
def test_a_record_of_another_kind_does_not_fill_the_layout(line: str, field: str) -> None:
    assert fill(line, field) is None


def test_a_flag_is_found_by_the_kernels_name_for_it() -> None:
    shown = '"%s", __print_flags(REC->flags, "|", { (u32)((1UL) << (7)), "ONE" }, {(gfp_t)(((1)) << (22)), "TWO"}, '
    shown += '{(unsigned long)((gfp_t)0x400u), "FOUR"})'
    assert fill("x:u8=flags&TWO", "unsigned long flags 8 8 0", shown=shown) == (
        [("x", "u8")],
        (Copy("BT_COPY_BIT", 8, width=8, add=22),),
    )
    assert fill("x:u8=flags&FOUR", "int flags 8 4 0", shown=shown) == (
        [("x", "u8")],
        (Copy("BT_COPY_BIT", 8, width=4, add=10),),
    )
    assert fill("x:u8=flags&THREE", "unsigned long flags 8 8 0", shown=shown) is None


def test_optional_fields_may_be_missing() -> None:
    fields = (LayoutField("x", "i32", "x"), LayoutField("y", "u8", "y", optional=True))
    filled = fill_layout(fields, described("int x 8 4 1"))
    assert filled is not None
    assert filled[1] == ("y",)


def declared(type_: str) -> str:
    """Spell a type of the table without what :func:`kind` does not tell."""
    return "u32" if type_ == "rwbs" else re.sub(r"<u\d+>", "<>", type_.replace("{}", ""))


def test_lttngs_layouts_are_those_of_a_trace_that_it_wrote() -> None:
    """Every event of the real trace that the table has: same names, types and order of the fields."""
    known = {event.name: event for event in lttng_events().values()}
    compared = []
    for stream in read_metadata(LTTNG).streams:
        for event in stream.events:
            if event.name not in known or event.fields is None:
                continue
            written = [
                (member.name, kind(member.field))
                for member in event.fields.members
                if not (member.name.startswith("_") and member.name.endswith("_length"))
            ]
            ours = [
                [
                    (
                        field.name,
                        "u32" if field.type == "rwbs" else re.sub(r"<u\d+>", "<>", field.type.replace("{}", "")),
                    )
                    for field in layout
                ]
                for layout in known[event.name].layouts
            ]
            if ours[0][-1] == ("network_header", "network"):
                assert event.fields.members[-2:] == NETWORK_HEADERS
                written[-2:] = ours[0][-1:]
            assert written in ours, event.name
            compared.append(event.name)
    assert len(compared) > 40


class _Table:
    """A tracefs of a few descriptions."""

    def __init__(self, root: Path, *events: str) -> None:
        for event in events:
            group, _, name = event.partition(":")
            directory = root / "events" / group / name
            directory.mkdir(parents=True)
            fields = "\tfield:int vec;\toffset:8;\tsize:4;\tsigned:1;\n"
            (directory / "format").write_text(f'name: {name}\nID: 7\nformat:\n{COMMON}\n{fields}\nprint fmt: ""\n')
        self.tracefs = Tracefs(root)


@pytest.fixture
def few(tmp_path: Path) -> Tracepoints:
    table = _Table(
        tmp_path,
        "irq:softirq_entry",
        "timer:tick",
        "clock:tick",
        "sched:sched_switch",
        "sched:sched_other",
        "syscalls:sys_enter_read",
        "ftrace:print",
        "task:irq_softirq_entry",
    )
    return Tracepoints(table.tracefs, OWN_TRACEPOINTS)


def test_events_have_lttngs_name_else_the_kernels_with_the_group_where_it_is_needed(few: Tracepoints) -> None:
    assert {name.kernel_name: name.name for name in few.names} == {
        "irq:softirq_entry": "irq_softirq_entry",
        "timer:tick": "timer_tick",
        "clock:tick": "clock_tick",
        "sched:sched_other": "sched_other",
        "task:irq_softirq_entry": "task_irq_softirq_entry",
    }


@pytest.mark.parametrize(
    ("patterns", "names", "by_name"),
    [
        ((), [], []),
        (("irq_*",), ["irq_softirq_entry"], [False]),
        (("irq*", "clock_tick"), ["clock_tick", "irq_softirq_entry"], [True, False]),
        (("irq:*",), ["irq_softirq_entry"], [False]),
        (("timer:tick",), ["timer_tick"], [True]),
        (("task*",), ["task_irq_softirq_entry"], [False]),
    ],
)
def test_patterns_choose_by_either_name(
    few: Tracepoints, patterns: tuple[str, ...], names: list[str], by_name: list[bool]
) -> None:
    catalogue = build_catalogue((), (), patterns, tracepoints=few, state_dump=False)
    assert [one.tracepoint.name for one in catalogue.tracepoints] == names
    assert [one.by_name for one in catalogue.tracepoints] == by_name
    assert ("any_tracepoint" in catalogue.programs) == bool(names)
    classes = {event.id: event.name for event in catalogue.classes}
    assert [classes[one.id] for one in catalogue.tracepoints] == names


def test_without_patterns_the_events_are_those_with_programs_of_their_own(few: Tracepoints) -> None:
    names = {event.name for event in build_catalogue((), (), (), tracepoints=few, state_dump=False).classes}
    assert {event.name for event in SCHED} <= names
    assert "sched_other" not in names
    assert "sched_other" in {event.name for event in build_catalogue((), (), ("*",), tracepoints=few).classes}
