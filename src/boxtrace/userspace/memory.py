"""The memory that the host makes for its clients."""

from __future__ import annotations

import fcntl
import os

__all__ = ["sealed_memory"]


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
