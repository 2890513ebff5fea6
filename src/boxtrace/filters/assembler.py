"""BPF instructions: encoded for the kernel, written out for people, and put together with labels.

Source: the kernel's Documentation/bpf/standardization/instruction-set.rst; encodings of ``struct bpf_insn`` in
include/uapi/linux/bpf.h. Instructions are little-endian, as on every machine that boxtrace records on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

__all__ = [
    "JUMPS",
    "Assembler",
    "Instruction",
    "Label",
    "TooLongError",
    "encode",
    "fits_imm",
    "listing",
    "longest_path",
]

_INSN: Final = struct.Struct("<BBhi")

_LD_IMM64: Final = 0x18
_LDX: Final = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}
_SIZE_NAMES: Final = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_ALU64: Final = {"|": 0x47, "&": 0x57, "<<": 0x67, ">>": 0x77, "^": 0xA7, "=": 0xB7, "s>>": 0xC7}
_NEG64: Final = 0x87
_JA: Final = 0x05
_EXIT: Final = 0x95
JUMPS: Final = {
    "==": 0x15,
    ">": 0x25,
    ">=": 0x35,
    "&": 0x45,
    "!=": 0x55,
    "s>": 0x65,
    "s>=": 0x75,
    "<": 0xA5,
    "<=": 0xB5,
    "s<": 0xC5,
    "s<=": 0xD5,
}
"""Conditions of jumps; ``s`` compares signed, ``&`` jumps if a bit is common. Opcodes for 64 bits and an immediate."""
_JMP32: Final = 0x01
"""Added to the opcode of a jump that compares the low 32 bits."""
_REGISTER: Final = 0x08
"""Added to the opcode of an operation whose second operand is a register."""


class Label:
    """A place to jump to; bound once, behind every jump to it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. ``text`` is its written form without the target, ``note`` what it is for."""

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0
    text: str = ""
    note: str = ""
    target: Label | int | None = None
    """Where it jumps to: once assembled, the index of an instruction."""

    @property
    def slots(self) -> int:
        """How many ``struct bpf_insn`` it takes."""
        return 2 if self.opcode == _LD_IMM64 else 1

    @property
    def falls_through(self) -> bool:
        """Whether the next instruction may follow."""
        return self.opcode not in (_JA, _EXIT)


def fits_imm(value: int) -> bool:
    """Tell whether a number is what an immediate operand is when it has been sign-extended to 64 bits."""
    return -(1 << 31) <= value < 1 << 31


def _number(value: int) -> str:
    return str(value) if -4096 < value < 4096 else hex(value)


_MAX_ITEMS: Final = 1 << 16


class TooLongError(Exception):
    """More instructions than any program may have."""


class Assembler:
    """Collects instructions; :meth:`finish` drops what cannot be reached and resolves the jumps.

    Every method that makes an instruction raises :class:`TooLongError` when there are too many.
    """

    def __init__(self) -> None:
        self._items: list[Instruction | Label] = []

    def _add(self, item: Instruction | Label) -> None:
        if len(self._items) >= _MAX_ITEMS:
            raise TooLongError
        self._items.append(item)

    def bind(self, label: Label) -> None:
        """Make a label mean the next instruction."""
        self._add(label)

    def load(self, dst: int, base: int, offset: int, size: int, note: str = "") -> None:
        """Load ``size`` bytes (1, 2, 4, 8), zero-extended."""
        text = f"r{dst} = *({_SIZE_NAMES[size]} *)(r{base} + {offset})"
        self._add(Instruction(_LDX[size], dst, base, offset, text=text, note=note))

    def move(self, dst: int, value: int) -> None:
        """Set a register to a signed 64-bit number."""
        text = f"r{dst} = {_number(value)}"
        if fits_imm(value):
            self._add(Instruction(_ALU64["="], dst, imm=value, text=text))
        else:
            self._add(Instruction(_LD_IMM64, dst, imm=value, text=text + " ll"))

    def operate(self, operator: str, dst: int, src: int) -> None:
        """``dst operator= src``, both registers, 64 bits wide."""
        text = f"r{dst} {operator}= r{src}"
        self._add(Instruction(_ALU64[operator] | _REGISTER, dst, src, text=text))

    def operate_imm(self, operator: str, dst: int, value: int) -> None:
        """``dst operator= value``, 64 bits wide; the number is sign-extended from 32 bits."""
        text = f"r{dst} {operator}= {_number(value)}"
        self._add(Instruction(_ALU64[operator], dst, imm=value, text=text))

    def negate(self, dst: int) -> None:
        """``dst = -dst``."""
        self._add(Instruction(_NEG64, dst, text=f"r{dst} = -r{dst}"))

    def jump(self, target: Label) -> None:
        """Go there."""
        self._add(Instruction(_JA, text="goto", target=target))

    def jump_if(self, condition: str, dst: int, src: int, target: Label) -> None:
        """Go there if the condition (a key of :data:`JUMPS`) holds for two registers."""
        text = f"if r{dst} {condition} r{src} goto"
        self._add(Instruction(JUMPS[condition] | _REGISTER, dst, src, text=text, target=target))

    def jump_if_imm(self, condition: str, dst: int, value: int, target: Label, *, narrow: bool = False) -> None:
        """Go there if the condition holds for a register and a number; ``narrow`` compares 32 bits only."""
        text = f"if {'w' if narrow else 'r'}{dst} {condition} {_number(value)} goto"
        if narrow and not fits_imm(value):
            value -= 1 << 32
        opcode = JUMPS[condition] + _JMP32 * narrow
        self._add(Instruction(opcode, dst, imm=value, text=text, target=target))

    def result(self, value: int) -> None:
        """Return a number from the function."""
        self.move(0, value)
        self._add(Instruction(_EXIT, text="exit"))

    def finish(self) -> tuple[Instruction, ...]:
        """Return the instructions, with jumps that do nothing and what cannot be reached left out.

        The kernel refuses unreachable instructions.
        """
        self._drop_repeated_loads()
        while True:
            items = self._without_waste()
            if len(items) == len(self._items):
                return self._resolve()
            self._items = items

    def _without_waste(self) -> list[Instruction | Label]:
        """Return what is left without unreachable instructions, and without jumps to the next instruction."""
        kept: list[Instruction | Label] = []
        wanted: set[Label | int] = set()
        reachable = True
        for number, item in enumerate(self._items):
            if isinstance(item, Label):
                reachable |= item in wanted
                kept.append(item)
                continue
            if not reachable or self._leads_on(number):
                continue
            kept.append(item)
            if item.target is not None:
                wanted.add(item.target)
            reachable = item.falls_through
        return kept

    def _leads_on(self, number: int) -> bool:
        """Tell whether an instruction jumps to the next one; a condition makes no difference then."""
        target = getattr(self._items[number], "target", None)
        while target is not None:
            number += 1
            item = self._items[number]
            if item is target:
                return True
            if not isinstance(item, Label):
                break
        return False

    def _drop_repeated_loads(self) -> None:
        """Leave out loads of what the register holds already: lists of values for one field are common."""
        targets = {item.target for item in self._items if isinstance(item, Instruction)}
        held: Instruction | None = None
        kept: list[Instruction | Label] = []
        for item in self._items:
            if isinstance(item, Label):
                held = None if item in targets else held
            elif item.opcode in _LDX.values():
                if held is not None and item.text == held.text:
                    continue
                held = item
            elif item.target is None and held is not None and item.dst == held.dst:
                held = None
            kept.append(item)
        self._items = kept

    def _resolve(self) -> tuple[Instruction, ...]:
        places: dict[Label, int] = {}
        instructions: list[Instruction] = []
        for item in self._items:
            if isinstance(item, Label):
                places[item] = len(instructions)
            else:
                instructions.append(item)
        return tuple(
            replace(each, target=places[each.target]) if isinstance(each.target, Label) else each
            for each in instructions
        )


def longest_path(instructions: Sequence[Instruction]) -> int:
    """Return how many instructions are executed at most."""
    longest = [0] * (len(instructions) + 1)
    for index in range(len(instructions) - 1, -1, -1):
        instruction = instructions[index]
        after = longest[index + 1] if instruction.falls_through else 0
        if isinstance(instruction.target, int):
            after = max(after, longest[instruction.target])
        longest[index] = 1 + after
    return longest[0]


def encode(instructions: Sequence[Instruction]) -> bytes:
    """Return the instructions as an array of ``struct bpf_insn``.

    :raises OverflowError: if a jump is too far for its 16 bits.
    """
    starts = [0]
    for instruction in instructions:
        starts.append(starts[-1] + instruction.slots)
    encoded = bytearray()
    for index, each in enumerate(instructions):
        offset = each.offset
        if isinstance(each.target, int):
            offset = starts[each.target] - starts[index + 1]
            if offset >= 1 << 15:
                raise OverflowError("a jump over more than 32767 instructions")
        registers = each.dst | each.src << 4
        if each.opcode == _LD_IMM64:
            low, high = struct.unpack("<ii", struct.pack("<q", each.imm))
            encoded += _INSN.pack(each.opcode, registers, 0, low) + _INSN.pack(0, 0, 0, high)
        else:
            encoded += _INSN.pack(each.opcode, registers, offset, each.imm)
    return bytes(encoded)


def listing(instructions: Sequence[Instruction]) -> list[str]:
    """Return one line per instruction: its index, what it does, what for."""
    lines = []
    for index, each in enumerate(instructions):
        text = f"{each.text} {each.target}" if each.target is not None else each.text
        lines.append(f"{index:4}: {text:<44}{'; ' + each.note if each.note else ''}".rstrip())
    return lines
