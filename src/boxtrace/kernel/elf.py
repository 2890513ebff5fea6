"""What an ELF file tells of the places that can be probed: its functions, its USDT markers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from boxtrace.ctf.fields import IntegerField
from boxtrace.errors import UsageError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

__all__ = ["Marker", "find_functions", "find_markers"]

Marker = tuple[str, str]
"""Provider and name."""

_ARGUMENT = re.compile(rb"(?:(-?)([1248])f?)?@")
_FUNCTIONS = ("STT_FUNC", "STT_GNU_IFUNC", "STT_LOOS")  # the last two are one number, 10
T = TypeVar("T")


def find_functions(descriptor: int) -> frozenset[str]:
    """Return the names of the functions of an open file, those that it exports included.

    :raises UsageError: if it is no ELF file.
    """

    def read(elf: ELFFile) -> frozenset[str]:
        from elftools.elf.sections import SymbolTableSection

        tables = (section for section in elf.iter_sections() if isinstance(section, SymbolTableSection))
        return frozenset(
            symbol.name
            for table in tables
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] in _FUNCTIONS and symbol["st_shndx"] != "SHN_UNDEF"
        )

    return _read(descriptor, read)


def find_markers(descriptor: int) -> Mapping[Marker, tuple[IntegerField, ...]]:
    """Return the USDT markers of an open file with the types of their arguments.

    A marker may stand at several places, which may pass their arguments in different sizes: then the widest counts, and
    it is signed if it is so anywhere. The notes' format is SystemTap's: three addresses, then provider, name and
    arguments as strings; an argument is ``SIZE@PLACE``, with a negative size if it is signed.

    :raises UsageError: if it is no ELF file.
    """

    def read(elf: ELFFile) -> dict[Marker, tuple[IntegerField, ...]]:
        from elftools.elf.sections import NoteSection

        found: dict[Marker, tuple[IntegerField, ...]] = {}
        section = elf.get_section_by_name(".note.stapsdt")
        for note in section.iter_notes() if isinstance(section, NoteSection) else ():
            description = note["n_descdata"]
            text = description[3 * elf.elfclass // 8 :] if isinstance(description, bytes) else b""
            provider, name, arguments, *_ = [*text.split(b"\0"), b"", b""]
            marker = provider.decode(), name.decode()
            types = tuple(map(_type, arguments.split()))
            before = found.get(marker, types)
            found[marker] = (
                tuple(map(_wider, before, types)) if len(before) == len(types) else max(before, types, key=len)
            )
        return found

    return _read(descriptor, read)


def _type(argument: bytes) -> IntegerField:
    match = _ARGUMENT.match(argument)
    if match is None or match[2] is None:
        return IntegerField(size=64, signed=True)
    return IntegerField(size=8 * int(match[2]), signed=bool(match[1]))


def _wider(one: IntegerField, other: IntegerField) -> IntegerField:
    return IntegerField(size=max(one.size, other.size), signed=one.signed or other.signed)


def _read(descriptor: int, read: Callable[[ELFFile], T]) -> T:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        try:
            return read(ELFFile(file))
        except (ELFError, ValueError) as error:
            raise UsageError(f"not an ELF file: {error}") from error
