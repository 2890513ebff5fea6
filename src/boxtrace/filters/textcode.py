"""BPF instructions that compare text in a buffer of known room, without loops.

Text is bytes up to the first zero byte, or to the end of its room. Loads are never wider than their offset's alignment,
since the kernel demands that on the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from boxtrace.filters.assembler import Assembler, Label
from boxtrace.filters.inputs import Place

__all__ = ["MAX_SEARCHED", "TextCode", "Verdicts"]

MAX_SEARCHED: Final = 64
"""Room of text in which something is looked for, or that is compared with other text: there is code for each byte."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Where to go for text that is less than, equal to, or greater than something."""

    less: Label
    equal: Label
    greater: Label

    @classmethod
    def of(cls, operator: str, yes: Label, no: Label) -> Verdicts:
        """Return those of a comparison operator."""
        return cls(
            less=yes if operator in ("<", "<=", "!=") else no,
            equal=yes if operator in ("==", "<=", ">=") else no,
            greater=yes if operator in (">", ">=", "!=") else no,
        )


class TextCode:
    """Makes code that uses two registers."""

    def __init__(self, code: Assembler, register: int, other: int) -> None:
        self._code = code
        self._register = register
        self._other = other

    def match(self, place: Place, pieces: tuple[bytes, ...], yes: Label, no: Label, note: str) -> None:
        """Go to ``yes`` if the text is the pieces with anything between them, else to ``no``."""
        first, *others = pieces
        if sum(map(len, pieces)) > place.size:
            self._code.jump(no)
            return
        self._same(place, first if others else first + b"\0" * (len(first) < place.size), no, note)
        if not others or others == [b""]:
            self._code.jump(yes)
        else:
            self._search(place, len(first), others, yes, no)

    def _same(self, place: Place, wanted: bytes, no: Label, note: str = "", at: int = 0) -> None:
        """Go on if these bytes are there, from offset ``at`` of the text, which has room for them; else to ``no``."""
        end = at + len(wanted)
        done = at
        while done < end:
            offset = place.offset + done
            size = next(size for size in (8, 4, 2, 1) if offset % size == 0 and done + size <= end)
            value = int.from_bytes(wanted[done - at : done - at + size], "little")
            self._code.load(self._register, place.base, offset, size, note)
            if size == 8:
                self._code.move(self._other, value - ((value >> 63) << 64))
                self._code.jump_if("!=", self._register, self._other, no)
            else:
                self._code.jump_if_imm("!=", self._register, value, no, narrow=True)
            done += size
            note = ""

    def _search(self, place: Place, start: int, pieces: list[bytes], yes: Label, no: Label) -> None:
        """Look for the pieces one after another; the last one must be where the text ends.

        There is a block of code for each piece at each offset that it may be tried at. A block goes to that of the next
        offset, or of the next piece behind the one found: always forward.
        """
        blocks: dict[tuple[int, int], Label] = {}

        def block(piece: int, at: int) -> Label:
            if at + len(pieces[piece]) > place.size:
                return no
            return blocks.setdefault((piece, at), Label())

        self._code.jump(block(0, start))
        for at in range(start, place.size):
            for number, piece in enumerate(pieces):
                label = blocks.get((number, at))
                if label is None:
                    continue
                self._code.bind(label)
                last = number == len(pieces) - 1
                end = at + len(piece)
                miss = Label()
                again = block(number, at + 1)
                self._code.load(self._register, place.base, place.offset + at, 1)
                self._code.jump_if_imm("!=", self._register, piece[0], miss)
                self._same(place, piece[1:] + b"\0" * (last and end < place.size), again, at=at + 1)
                found = last or (number + 2 == len(pieces) and not pieces[-1])
                self._code.jump(yes if found else block(number + 1, end))
                self._code.bind(miss)
                self._code.jump_if_imm("==", self._register, 0, no)
                self._code.jump(again)

    def compare(self, place: Place, literal: bytes, verdicts: Verdicts, note: str) -> None:
        """Compare the text with a literal, byte by byte."""
        for at, byte in enumerate(literal[: place.size]):
            self._code.load(self._register, place.base, place.offset + at, 1, note if at == 0 else "")
            self._code.jump_if_imm("<", self._register, byte, verdicts.less)
            self._code.jump_if_imm(">", self._register, byte, verdicts.greater)
        if len(literal) < place.size:
            self._code.load(self._register, place.base, place.offset + len(literal), 1)
            self._code.jump_if_imm("!=", self._register, 0, verdicts.greater)
        self._code.jump(verdicts.equal if len(literal) <= place.size else verdicts.less)

    def compare_fields(self, left: Place, right: Place, verdicts: Verdicts, notes: tuple[str, str]) -> None:
        """Compare two texts, byte by byte."""
        both = min(left.size, right.size)
        for at in range(both):
            self._code.load(self._register, left.base, left.offset + at, 1, notes[0] if at == 0 else "")
            self._code.load(self._other, right.base, right.offset + at, 1, notes[1] if at == 0 else "")
            self._code.jump_if("<", self._register, self._other, verdicts.less)
            self._code.jump_if(">", self._register, self._other, verdicts.greater)
            self._code.jump_if_imm("==", self._register, 0, verdicts.equal)
        for place, longer in ((left, verdicts.greater), (right, verdicts.less)):
            if place.size > both:
                self._code.load(self._register, place.base, place.offset + both, 1)
                self._code.jump_if_imm("!=", self._register, 0, longer)
        self._code.jump(verdicts.equal)
