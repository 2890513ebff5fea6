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

__all__ = ["KFUNC", "pack_code", "put_code", "replace_casts", "replace_immediates"]

KFUNC = 2
"""The source register of a call of a kernel function by the number of its type (``BPF_PSEUDO_KFUNC_CALL``)."""

_LOAD_64 = 0x18
"""``BPF_LD | BPF_IMM | BPF_DW``."""
_MAP_VALUE = 2
"""The source register of such a load, if the number is a map's descriptor (``BPF_PSEUDO_MAP_VALUE``)."""

_INSN = struct.Struct("<BBhi")
_NEXT = bytes((0x05, 0, 0, 0, 0, 0, 0, 0))
"""A jump to the next instruction."""


def pack_code(*code: tuple[int, int, int, int, int]) -> bytes:
    """Return instructions as bytes; each is given as operation, target, source, offset and immediate value."""
    return b"".join(_INSN.pack(op, source << 4 | target, offset, value) for op, target, source, offset, value in code)


def code_room(image: bytes, name: str) -> int:
    """Return how many BPF instructions there is room for in place of a function."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    symbols = ELFFile(io.BytesIO(image)).get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    sizes: list[int] = [symbol["st_size"] for symbol in symbols.get_symbol_by_name(name) or ()]
    return min(sizes) // 8


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


def replace_immediates(image: bytes, numbers: Mapping[int, int], arrays: Mapping[int, int]) -> bytes:
    """Replace numbers wherever they are an instruction's immediate: the upper half of eight bytes.

    :param numbers: by placeholder; these differ in their lowest byte only, so that the file is searched once.
    :param arrays: descriptors of arrays of one value, by placeholder: loads of it, 64 bits wide, then load the value's
        address. They must be open whenever the programs are loaded.
    """
    placeholders = [*numbers, *arrays]
    (high,) = {placeholder >> 8 for placeholder in placeholders}
    wanted = high.to_bytes(3, "little")
    patched = bytearray(image)
    at = image.find(wanted) - 1
    while at >= 0:
        placeholder = image[at] | high << 8
        if at % 8 == 4 and placeholder in numbers:
            patched[at : at + 4] = struct.pack("<I", numbers[placeholder])
        elif at % 8 == 4 and placeholder in arrays and image[at - 4] == _LOAD_64:
            patched[at - 3] |= _MAP_VALUE << 4
            patched[at : at + 4] = struct.pack("<I", arrays[placeholder])
        at = image.find(wanted, at + 2) - 1
    return bytes(patched)


def replace_casts(image: bytes, placeholder: int) -> bytes:
    """Let the placeholder's calls make a read-only pointer of what they are given, of the type that they are given.

    Kernels before Linux 6.2 have no ``bpf_rdonly_cast`` (kernel/bpf/helpers.c); the pointer remains what it is there.
    """
    cast = kernel_btf().function_id("bpf_rdonly_cast")
    call = (0x85, 0, KFUNC, 0, cast) if cast else (0xBF, 0, 1, 0, 0)  # or r0 = r1
    return image.replace(pack_code((0x85, 0, 0, 0, placeholder)), pack_code(call))
