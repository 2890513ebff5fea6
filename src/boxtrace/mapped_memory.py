"""Memory that is mapped without a descriptor of its own: :class:`mmap.mmap` keeps one until it is freed."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Final

__all__ = ["MappedMemory"]

_FAILED: Final = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class MappedMemory:
    """The first bytes of a file, shared; unmapped when nothing refers to them any more.

    :param descriptor: of the file; it needs not stay open.
    :param size: bytes.
    :ivar buffer: the memory.
    :raises OSError: if it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, descriptor, 0)
        if address == _FAILED:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        memory = (ctypes.c_ubyte * size).from_address(address)
        self._unmap = weakref.finalize(memory, _libc.munmap, address, size)
        self._unmap.atexit = False
        view = memoryview(memory).cast("B")
        self.buffer = view if writable else view.toreadonly()

    def close(self) -> None:
        """Unmap it now; nothing may use :attr:`buffer`, nor what was made of it, after that."""
        self.buffer.release()
        self._unmap()
