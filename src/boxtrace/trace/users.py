"""User and group ids of processes over the time of a trace, at every level of user namespaces.

They come from the state dump, from forks (a child has its parent's), from contexts where those were recorded, and from
system calls that set them. What such a call sets is known in the caller's own user namespace; what the namespaces
around it see instead is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from boxtrace.containers.views import OVERFLOW_ID
from boxtrace.trace.history import History
from boxtrace.units import NamespaceInum, Nanoseconds

__all__ = ["SET_ID_CALLS", "UserLevel", "Users"]

_UNCHANGED = 0xFFFFFFFF

SET_ID_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    "setuid": ("uid", "uid"),
    "setreuid": ("uid", "ruid"),
    "setresuid": ("uid", "ruid"),
    "setgid": ("gid", "gid"),
    "setregid": ("gid", "rgid"),
    "setresgid": ("gid", "rgid"),
}
"""System calls that set the real ids: which id, and the argument that has it."""


@dataclass(frozen=True, slots=True)
class UserLevel:
    """The real ids of a process as one user namespace sees them; None for one that is not known."""

    user_ns: NamespaceInum
    uid: int | None
    gid: int | None


class Users:
    """The ids of one process.

    :ivar levels: its user namespaces from the host's to its own, with what each sees.
    """

    __slots__ = ("_dumped", "levels")

    def __init__(self) -> None:
        self.levels: History[tuple[UserLevel, ...]] = History()
        self._dumped: list[tuple[int, UserLevel]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Users) and self.levels == other.levels

    __hash__ = None  # type: ignore[assignment]

    def inherit(self, parent: Users, time: Nanoseconds | None) -> None:
        """Take the ids of the process that forks this one."""
        self.levels.inherit(time, parent.levels)

    def on_dumped(self, payload: Mapping[str, Any], time: Nanoseconds | None) -> None:
        """Take one event of the state dump; there is one per level, the innermost first."""
        level = int(payload["ns_level"])
        self._dumped.append((level, UserLevel(payload["ns_inum"], payload["vuid"], payload["vgid"])))
        if level == 0:
            self.levels.note_dumped(time, tuple(found for _, found in sorted(self._dumped, key=lambda item: item[0])))
            self._dumped.clear()

    def on_context(self, context: Mapping[str, Any], time: Nanoseconds | None) -> None:
        """Take contexts of one of its events: ``uid`` and ``gid`` are the host's, ``vuid`` and ``vgid`` its own.

        A ``user_ns`` that is not known is one that it has entered: its own from then on, inside those before it.
        """
        levels = self.levels.at()
        if not levels:
            return
        entered = NamespaceInum(context.get("user_ns", 0))
        if entered and entered not in [level.user_ns for level in levels]:
            levels = (*levels, UserLevel(entered, None, None))
        before, own = levels[0], levels[-1]
        host = replace(before, uid=context.get("uid", before.uid), gid=context.get("gid", before.gid))
        if len(levels) == 1:
            levels = (host,)
        else:
            own = replace(own, uid=context.get("vuid", own.uid), gid=context.get("vgid", own.gid))
            levels = (host, *(_hidden(level, host != before) for level in levels[1:-1]), own)
        self.levels.note(time, levels)

    def on_set(self, call: str, number: int, time: Nanoseconds | None) -> None:
        """Take what a system call of :data:`SET_ID_CALLS` has set in the process's own user namespace."""
        levels = self.levels.at()
        if not levels or number == _UNCHANGED:
            return
        user = levels[-1].uid
        if call in ("setuid", "setgid") and user not in (0, None, OVERFLOW_ID):
            return  # without privileges only the effective id is set (setuid(2))
        kind, _ = SET_ID_CALLS[call]
        outer: dict[str, Any] = {kind: None}
        inner: dict[str, Any] = {kind: number if call not in ("setuid", "setgid") or user == 0 else None}
        self.levels.note(time, (*(replace(level, **outer) for level in levels[:-1]), replace(levels[-1], **inner)))


def _hidden(level: UserLevel, changed: bool) -> UserLevel:
    return replace(level, uid=None, gid=None) if changed else level
