"""Contexts of applications' events that differ from event to event, as a user names them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from boxtrace.errors import UsageError
from boxtrace.kernel.perf import open_thread_counter, parse_thread_counter
from boxtrace.userspace.contexts import IP, MAX_COUNTERS, EventContexts, ThreadCounter

__all__ = ["check_user_contexts", "event_contexts"]

_COUNTER = "perf:thread:"


def check_user_contexts(names: Sequence[str]) -> None:
    """Check names.

    :raises UsageError: for one that there is not, or too many.
    """
    counters = [name for name in names if name != IP]
    for name in counters:
        if not name.startswith(_COUNTER):
            raise UsageError(
                f"there is no context {name!r} to choose for applications",
                hint="ip and perf:thread:NAME; all others are recorded in any case",
            )
        parse_thread_counter(name)
    if len(counters) > MAX_COUNTERS:
        raise UsageError(f"{len(counters)} counters of each thread: there can be {MAX_COUNTERS}")
    if len(set(names)) < len(names):
        raise UsageError("a context of applications is named twice")


def event_contexts(names: Sequence[str]) -> EventContexts:
    """Return what clients are asked for.

    :raises UsageError: for a name that there is not.
    :raises CapabilityError: for a counter that this machine does not have.
    """
    counters = tuple(parse_thread_counter(name) for name in names if name != IP)
    for counter in counters:
        os.close(open_thread_counter(counter, 0))
    opened = (ThreadCounter(each.field_name, partial(open_thread_counter, each)) for each in counters)
    return EventContexts(IP in names, tuple(opened))
