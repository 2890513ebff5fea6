"""Code that is made when a recording starts, put into the object file of the BPF programs before it is loaded.

The file has room for it: functions that consist of jumps to the next instruction, which the kernel takes out where they
stay.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from boxtrace.errors import UsageError
from boxtrace.kernel.btf import kernel_btf

__all__ = ["KFUNC", "pack_code", "put_code", "replace_casts", "replace_immediate"]

KFUNC = 2
"""The source register of a call of a kernel function by the number of its type (``BPF_PSEUDO_KFUNC_CALL``)."""

_INSN = struct.Struct("<BBhi")
_NEXT = bytes((0x05, 0, 0, 0, 0, 0, 0, 0))
"""A jump to the next instruction."""


def pack_code(*code: tuple[int, int, int, int, int]) -> bytes:
    """Return instructions as bytes; each is given as operation, target, source, offset and immediate value."""
    return b"".join(_INSN.pack(op, source << 4 | target, offset, value) for op, target, source, offset, value in code)


def put_code(image: bytes, codes: Mapping[str, bytes], what: str) -> bytes:
    """Return an object file with code in place of that of functions; a function of several files is replaced in each.

    :param codes: BPF instructions by the function's name. They end with an exit.
    :param what: that the code is, in words: "the filters".
    :raises UsageError: if there is more code than room.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    patched = bytearray(image)
    elf = ELFFile(io.BytesIO(image))
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    for symbol in symbols.iter_symbols():
        code = codes.get(symbol.name)
        if code is None:
            continue
        room = symbol["st_size"]
        if len(code) > room:
            raise UsageError(f"{what} take {len(code) // 8} instructions, more than {room // 8}")
        start = elf.get_section(symbol["st_shndx"])["sh_offset"] + symbol["st_value"]
        patched[start : start + room] = _NEXT * ((room - len(code)) // len(_NEXT)) + code
    return bytes(patched)


def replace_immediate(image: bytes, placeholder: int, value: int) -> bytes:
    """Replace a number wherever it is an instruction's immediate: the upper half of eight bytes."""
    wanted, number = struct.pack("<I", placeholder), struct.pack("<I", value)
    patched = bytearray(image)
    at = image.find(wanted)
    while at >= 0:
        if at % 8 == 4:
            patched[at : at + 4] = number
        at = image.find(wanted, at + 4)
    return bytes(patched)


def replace_casts(image: bytes, placeholder: int) -> bytes:
    """Let the placeholder's calls make a read-only pointer of what they are given, of the type that they are given.

    Kernels before Linux 6.2 have no ``bpf_rdonly_cast`` (kernel/bpf/helpers.c); the pointer remains what it is there.
    """
    cast = kernel_btf().function_id("bpf_rdonly_cast")
    call = (0x85, 0, KFUNC, 0, cast) if cast else (0xBF, 0, 1, 0, 0)  # or r0 = r1
    return image.replace(pack_code((0x85, 0, 0, 0, placeholder)), pack_code(call))
