import struct

import pytest

from boxtrace.filters import Filter
from boxtrace.filters.assembler import Assembler, Label, encode, listing, longest_path
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.compile import CompiledFilter, compile_filter
from boxtrace.filters.inputs import InputLayout, Place, packed
from boxtrace.filters.unparse import unparse
from support.filter_events import EVENT, STREAM

SCOPES = EventScopes.of(STREAM, EVENT)
LAYOUT = InputLayout(
    contexts={"pid_ns": 0, "tid": 4, "procname": 8},
    payload={"fd": 0, "tiny": 8, "flags": 16, "state": 24, "comm": 32, "filename": 48, "three": 4144, "inner": 4160},
    rooms={"filename": 4096},
)


def compiled(expression: str) -> CompiledFilter:
    return compile_filter(Filter(expression).bind(SCOPES), LAYOUT)


def code(expression: str) -> list[str]:
    """The listing without numbers and notes."""
    return [line[6:].partition(";")[0].rstrip() for line in listing(compiled(expression).instructions)]


ENDS = ["r0 = 1", "exit", "r0 = 0", "exit"]


@pytest.mark.parametrize(
    ("expression", "lines"),
    [
        ("$ctx.pid_ns == 4026532572", ["r0 = *(u32 *)(r1 + 0)", "if w0 != 0xf00002dc goto 4"]),
        ("fd > 2", ["r0 = *(u32 *)(r2 + 0)", "if w0 s<= 2 goto 4"]),
        ("2 < fd && 1 == 1", ["r0 = *(u32 *)(r2 + 0)", "if w0 s<= 2 goto 4"]),
        ("flags & 4", ["r0 = *(u64 *)(r2 + 16)", "if r0 & 4 goto 3", "goto 5"]),
        ("!(state == 3)", ["r0 = *(u8 *)(r2 + 24)", "if w0 == 3 goto 4"]),
        ("tiny == -1", ["r0 = *(u8 *)(r2 + 8)", "if w0 != 255 goto 4"]),
        (
            "fd == 1 || fd == 2 || fd == 3",
            ["r0 = *(u32 *)(r2 + 0)", "if w0 == 1 goto 4", "if w0 == 2 goto 4", "if w0 != 3 goto 6"],
        ),
        ("filename == '/etc*'", ["r0 = *(u32 *)(r2 + 48)", "if w0 != 0x6374652f goto 4"]),
        ("comm == 'd'", ["r0 = *(u16 *)(r2 + 32)", "if w0 != 100 goto 4"]),
        ("three[1] < inner.deep.y", ["r0 = *(u32 *)(r2 + 4148)", "r0 <<= 32", "r0 s>>= 32", "r3 = *(u32 *)(r2 + 4164)",
                                    "r3 <<= 32", "r3 s>>= 32", "if r0 s>= r3 goto 9"]),
    ],
)  # fmt: skip
def test_code_is_as_short_as_it_can_be(expression: str, lines: list[str]) -> None:
    assert code(expression) == lines + ENDS


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("1 << 2 == 4", True),
        ("1 == 2 || 0", False),
        ("fd == 1 && 0", False),
        ("1 || 1 << 64", True),
        ("(fd == 0 || 1) && 3", True),
        ("-1 == 18446744073709551615", True),
        ("1.5 < 2 && !0.0", True),
    ],
)
def test_what_is_constant_takes_no_code(expression: str, verdict: bool) -> None:
    assert compiled(expression).verdict is verdict
    assert code(expression) == ENDS[:2] if verdict else ENDS[2:]


@pytest.mark.parametrize(
    "expression", ["1 << 64", "fd >> 99 || 1", "state == 256", "tiny < -128", "comm == '12345678901234567'"]
)
def test_what_is_always_false_rejects_at_once(expression: str) -> None:
    assert code(expression) == ENDS[2:]


@pytest.mark.parametrize(
    ("expression", "in_kernel", "reasons"),
    [
        ("fd == 1 && ratio > 1", "fd == 1", {"ratio > 1": "floating point"}),
        ("fd == 1 || ratio > 1", "1", {"(fd == 1) || (ratio > 1)": "floating point"}),
        ("fd == 1 && !(tiny && numbers[0] == 1)", "fd == 1", {"!(tiny && (numbers[0] == 1))": "not known before"}),
        ("filename == '*x' && fd", "fd != 0", {'filename == "*x"': "64 bytes"}),
        ("filename == comm && fd == 3", "fd == 3", {"filename == comm": "64 bytes"}),
        ("$ctx.own == 1 && fd == 2", "fd == 2", {"$ctx.own == 1": "not known before"}),
    ],
)
def test_what_the_kernel_cannot_decide_is_postponed(expression: str, in_kernel: str, reasons: dict[str, str]) -> None:
    found = compiled(expression)
    assert unparse(found.node) == in_kernel
    assert [unparse(each.node) for each in found.postponed] == list(reasons)
    for each, reason in zip(found.postponed, reasons.values(), strict=True):
        assert reason in each.reason


def test_a_list_of_values_costs_one_load_and_a_jump_each() -> None:
    found = compiled(" || ".join(f"$ctx.pid_ns == {4026532000 + number}" for number in range(200)))
    assert found.size == 1 + 200 + 4
    assert found.longest_path == 1 + 200 + 2
    assert found.postponed == ()


def test_code_beyond_the_limit_is_postponed() -> None:
    for part, count in (("fd=={}", 4100), ("comm=='*a*b*c*d*e*f*{}'", 2000)):
        found = compiled(" || ".join(part.format(number) for number in range(count)))
        assert found.verdict is True
        assert "more than 4096" in found.postponed[0].reason


def test_a_value_that_needs_too_many_registers_is_postponed() -> None:
    expression = "fd"
    for _ in range(8):
        expression = f"({expression} ^ ({expression}))"
    assert "registers" in compiled(f"{expression} == 1").postponed[0].reason
    assert compiled("(fd ^ tiny) & (fd | state) == (tiny | 3)").postponed == ()


def test_instructions_have_the_kernels_encoding() -> None:
    code = Assembler()
    end = Label()
    code.load(3, 1, 40, 4)
    code.jump_if_imm("!=", 3, 0xF00002DC, end, narrow=True)
    code.jump_if("s>", 3, 4, end)
    code.move(5, 1 << 40)
    code.operate_imm("&", 5, -1)
    code.operate(">>", 5, 3)
    code.negate(5)
    code.bind(end)
    code.result(1)
    instructions = code.finish()
    assert longest_path(instructions) == len(instructions) == 9
    assert encode(instructions) == b"".join(
        struct.pack("<BBhi", *insn)
        for insn in [
            (0x61, 0x13, 40, 0),  # LDX | W | MEM
            (0x56, 0x03, 6, 0xF00002DC - (1 << 32)),  # JMP32 | JNE | K
            (0x6D, 0x43, 5, 0),  # JMP | JSGT | X
            (0x18, 0x05, 0, 0),  # LD | DW | IMM
            (0x00, 0x00, 0, 1 << 8),
            (0x57, 0x05, 0, -1),  # ALU64 | AND | K
            (0x7F, 0x35, 0, 0),  # ALU64 | RSH | X
            (0x87, 0x05, 0, 0),  # ALU64 | NEG
            (0xB7, 0x00, 0, 1),  # ALU64 | MOV | K
            (0x95, 0x00, 0, 0),  # EXIT
        ]
    )


def test_a_jump_that_is_too_far_is_no_wrong_jump() -> None:
    code = Assembler()
    end = Label()
    code.jump_if_imm("==", 1, 0, end)
    for number in range(40000):
        code.move(0, number)
    code.bind(end)
    code.result(0)
    with pytest.raises(OverflowError):
        encode(code.finish())


def test_where_fields_of_a_record_lie() -> None:
    assert packed(EVENT.fields) == {
        "fd": 0, "tiny": 4, "flags": 5, "state": 13, "yes": 14, "ratio": 15, "comm": 23, "filename": 39,
    }  # fmt: skip
    bound = Filter("three[2] == 0").bind(SCOPES)
    [field] = bound.fields.values()
    assert LAYOUT.place(field) == Place(base=2, offset=4152, size=4, signed=True)
