"""Limits of this process that have to be raised for many files or clients."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["raise_descriptor_limit"]


def raise_descriptor_limit(wanted: int = 0) -> int:
    """Allow this process as many open files as it may have; return how many these are.

    :param wanted: raise also what it may have, to this, where it has the privilege (CAP_SYS_RESOURCE).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        with suppress(OSError, ValueError):
            most = min(wanted, int(Path("/proc/sys/fs/nr_open").read_text()))
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
