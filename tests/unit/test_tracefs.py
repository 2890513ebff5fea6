"""Parsing of tracefs event descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxtrace.errors import CapabilityError
from boxtrace.kernel.tracefs import FormatField, Tracefs, parse_format

COMMON = """\
name: {name}
ID: 316
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

{fields}
print fmt: "field:int not_a_field;\toffset:1;\tsize:1;\tsigned:0;", REC->x
"""


def parse(fields: str, name: str = "probe") -> list[FormatField]:
    return list(parse_format(COMMON.format(name=name, fields=fields), "test").fields)


def test_head_and_common_fields_are_kept_apart() -> None:
    event = parse_format(
        COMMON.format(name="sched_switch", fields="\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;"), "sched"
    )
    assert (event.group, event.name, event.event_id) == ("sched", "sched_switch", 316)
    assert [field.name for field in event.common] == [
        "common_type",
        "common_flags",
        "common_preempt_count",
        "common_pid",
    ]
    assert event.fields == (FormatField("x", "int", 8, 4, True),)


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "expected"),
    [
        ("char prev_comm[16]", 16, 0, FormatField("prev_comm", "char", 8, 16, False, elements=16)),
        ("char comm[TASK_COMM_LEN]", 16, 0, FormatField("comm", "char", 8, 16, False, elements=0)),
        ("__data_loc char[] name", 4, 0, FormatField("name", "char", 8, 4, False, elements=0, dynamic="data")),
        ("__rel_loc unsigned long[] args", 4, 0, FormatField("args", "unsigned long", 8, 4, False, 0, "rel")),
        ("unsigned long args[6]", 48, 0, FormatField("args", "unsigned long", 8, 48, False, elements=6)),
        ("const char * filename", 8, 0, FormatField("filename", "const char *", 8, 8, False)),
        ("struct page *page", 8, 0, FormatField("page", "struct page *", 8, 8, False)),
        ("long int  state", 8, 1, FormatField("state", "long int", 8, 8, True)),
        ("enum hrtimer_mode mode", 4, 0, FormatField("mode", "enum hrtimer_mode", 8, 4, False)),
    ],
)
def test_declarations(declaration: str, size: int, signed: int, expected: FormatField) -> None:
    assert parse(f"\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:{signed};") == [expected]


def test_sign_is_optional_as_in_old_kernels_and_unknown_lines_are_skipped() -> None:
    assert parse("\tfield:u64 dev;\toffset:8;\tsize:8;\n\tsomething else\n") == [FormatField("dev", "u64", 8, 8, False)]


def test_pointer_is_an_address_but_an_array_of_characters_is_not() -> None:
    (pointer,) = parse("\tfield:void * vec;\toffset:8;\tsize:8;\tsigned:0;")
    (array,) = parse("\tfield:__data_loc char *[] vec;\toffset:8;\tsize:4;\tsigned:0;")
    assert pointer.is_pointer
    assert not array.is_pointer


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(CapabilityError, match="'sched' cannot be understood"):
        parse_format("nothing here", "sched")


def test_absent_tracefs_tells_the_command_that_mounts_it(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="not mounted") as caught:
        Tracefs.find((tmp_path / "none", tmp_path))
    assert caught.value.hint == "mount -t tracefs tracefs /sys/kernel/tracing"


def test_a_tree_is_listed_and_read(tmp_path: Path) -> None:
    for group, name in (("sched", "sched_switch"), ("irq", "softirq_entry"), ("irq", "irq_handler_exit")):
        directory = tmp_path / "events" / group / name
        directory.mkdir(parents=True)
        (directory / "format").write_text(COMMON.format(name=name, fields=""))
    (tmp_path / "events" / "enable").write_text("0")
    tracefs = Tracefs.find((tmp_path,))
    assert list(tracefs.events()) == [("irq", "irq_handler_exit"), ("irq", "softirq_entry"), ("sched", "sched_switch")]
    assert tracefs.has("sched", "sched_switch")
    assert not tracefs.has("sched", "enable")
    assert tracefs.names("nothing") == []
    assert tracefs.format("irq", "softirq_entry").name == "softirq_entry"
    with pytest.raises(CapabilityError, match="does not describe the event sched:none"):
        tracefs.format("sched", "none")
