"""The memory that the host makes for its clients."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from typing import Final

__all__ = ["SharedMemory", "sealed_memory"]

_FAILED: Final = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def sealed_memory(name: str, size: int) -> int:
    """Return a descriptor of memory whose size nobody can change: no access to it can ever fail."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class SharedMemory:
    """A mapping of a descriptor, which needs not stay open: :class:`mmap.mmap` would keep one of its own.

    :ivar buffer: the memory; nothing may use it after :meth:`close`.
    :raises OSError: if it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
        if address == _FAILED:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._address = address
        self._size = size
        self.buffer = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

    def close(self) -> None:
        """Unmap it; once."""
        self.buffer.release()
        _libc.munmap(self._address, self._size)
