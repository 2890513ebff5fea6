"""Arrays with entries for each CPU, which BPF programs address directly where they are not too large for that."""

from __future__ import annotations

import os
import weakref

from boxtrace import _native

__all__ = ["LargeArray"]

_ADDRESSABLE = 1 << 29
"""How far a program may reach from a pointer, in bytes (``BPF_MAX_VAR_OFF``, include/linux/bpf_verifier.h)."""


class LargeArray:
    """One value, whose address is put into the programs; or, where it is too large, a map that they look entries up in.

    Either way its memory, mapped by user space, is the same: one entry after the other.

    :param name: of the object's map, if they are looked up.
    :param entry_size: in bytes, a multiple of 8.
    :raises OSError: if there is not enough memory for it.
    """

    def __init__(self, name: str, entries: int, entry_size: int) -> None:
        self.name = name
        self.entries = entries
        self.entry_size = entry_size
        self.fd: int | None = None
        """Descriptor of the array of one value, as long as this is there; None where entries are looked up."""
        if entries * entry_size <= _ADDRESSABLE:
            self.fd = _native.create_array(f"bt_{name}", entries * entry_size)
            weakref.finalize(self, os.close, self.fd)

    @property
    def direct(self) -> int:
        """How many entries are addressed directly: all or none."""
        return self.entries if self.fd is not None else 0

    def configure(self, bpf: _native.BpfObject) -> None:
        """Before load: give the object's map its size, if it is used."""
        if self.fd is None:
            bpf.configure_map(self.name, max_entries=self.entries, value_size=self.entry_size)
