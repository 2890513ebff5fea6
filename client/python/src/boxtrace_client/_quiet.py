"""Programs shall not notice the client: its thread alone is no reason to warn of fork (Python 3.12 and later)."""

from __future__ import annotations

import os
import sys
import warnings

__all__ = ["keep_quiet"]


class _OnlyOurThread:
    """In the place of a pattern: matches the warning of fork while there is the main thread and the client's."""

    def match(self, text: str) -> bool:
        if "use of fork" not in text:
            return False
        try:
            return len(os.listdir("/proc/self/task")) <= 2  # noqa: PTH208 - pathlib takes long to import
        except OSError:
            return False


def keep_quiet() -> None:
    """Call it once."""
    if sys.version_info >= (3, 12):
        warnings.filters.insert(0, ("ignore", _OnlyOurThread(), DeprecationWarning, None, 0))  # type: ignore[attr-defined]
