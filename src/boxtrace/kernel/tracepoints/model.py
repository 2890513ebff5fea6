"""A tracepoint as it is recorded: its event, and the copies that make the payload out of the kernel's record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from boxtrace.ctf.fields import Member, StructField

__all__ = ["ANY_TRACEPOINT", "ChosenTracepoint", "Copy", "Layout", "Tracepoint", "merge_copies"]

ANY_TRACEPOINT = "any_tracepoint"
"""The program of all tracepoints that have none of their own."""

_BYTES = "BT_COPY_BYTES"


@dataclass(frozen=True, slots=True)
class Copy:
    """One step of making a payload: ``struct bt_copy`` of ``bpf/abi.h``, which tells what each kind means."""

    kind: str
    source: int = 0
    size: int = 0
    width: int = 0
    add: int = 0
    signed: bool = False
    swapped: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Members of an event's payload, and the copies that make them, in the same order."""

    members: tuple[Member, ...]
    copies: tuple[Copy, ...]

    @property
    def fields(self) -> StructField:
        """The payload."""
        return StructField(members=self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracepoint:
    """A tracepoint of the running kernel.

    :param name: of its event: LTTng's where LTTng has it.
    :param group: the kernel's trace system.
    :param event: its name in there.
    :param layout: what is recorded.
    :param lttng: whether the event is one of LTTng's.
    :param missing: fields that LTTng has but this kernel's record does not give; ``None`` when the payload is the
        kernel's own record rather than LTTng's layout.
    """

    name: str
    group: str
    event: str
    layout: Layout
    lttng: bool = False
    missing: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChosenTracepoint:
    """A tracepoint that a recording wants.

    :param id: of its event.
    :param by_name: whether it was asked for by its name, not only by a pattern.
    """

    id: int
    tracepoint: Tracepoint
    by_name: bool


def merge_copies(copies: Iterable[Copy]) -> tuple[Copy, ...]:
    """Make one copy of bytes that lie together in the record and in the payload."""
    merged: list[Copy] = []
    for copy in copies:
        last = merged[-1] if merged else None
        if last is not None and last.kind == copy.kind == _BYTES and last.source + last.size == copy.source:
            merged[-1] = Copy(_BYTES, last.source, last.size + copy.size)
        else:
            merged.append(copy)
    return tuple(merged)
