"""Several filters as one BPF function, which is told which of them is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from boxtrace.filters.assembler import JUMPS, Instruction, encode

__all__ = ["SLOT", "dispatch"]

SLOT: Final = 3
"""The register that holds the number of the filter, from 1 on."""
_INSN: Final = 8


def dispatch(bodies: Sequence[bytes]) -> bytes:
    """Return the code of a function whose third argument chooses one of these bodies, the first by 1.

    There must be one at least; the last one is for any other number, too.

    :raises OverflowError: if a body has more than 32767 instructions.
    """
    code = bytearray()
    for number, body in enumerate(bodies, start=1):
        if number < len(bodies):
            length = len(body) // _INSN
            if length >= 1 << 15:
                raise OverflowError("a jump over more than 32767 instructions")
            code += encode([Instruction(JUMPS["!="], SLOT, offset=length, imm=number)])
        code += body
    return bytes(code)
