"""The running kernel's own type information, read once."""

from __future__ import annotations

from functools import cache

from boxtrace import _native

__all__ = ["kernel_btf"]


@cache
def kernel_btf() -> _native.KernelBtf:
    """Return the type information of the kernel, without its modules'.

    :raises OSError: if it has none (``CONFIG_DEBUG_INFO_BTF``).
    """
    return _native.KernelBtf()
