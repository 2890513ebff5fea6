"""What a recording can be limited to, beside containers: the one list of kinds of ids, and rules about them.

As with LTTng's trackers, each kind is a question of its own, and a task is recorded if all that are asked are answered
by yes: its id is among those included (or none is), and not among those excluded. All but ``pid`` are numbers or names
that tasks have now or later; ``pid`` means the process that has the number now.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from boxtrace.errors import SelectionError, UsageError

__all__ = ["KINDS", "TrackerId", "TrackerKind", "parse_id"]

_MOST: Final = 0xFFFF_FFFF
_NAME_BYTES: Final = 15
"""Of ``task_struct.comm`` without its NUL."""


@dataclass(frozen=True, slots=True)
class TrackerKind:
    """A kind of id.

    :ivar word: its name in options, configurations and commands.
    :ivar metavar: what its values are called in help.
    :ivar help: a sentence for the option's help.
    :ivar parse: makes the id of a value's text.
    :ivar nested: whether an id stands for what is nested in it, too.
    """

    word: str
    metavar: str
    help: str
    parse: Callable[[str, str], int | bytes]
    nested: bool = False

    @property
    def enumerator(self) -> str:
        """Its number's name in ``enum bt_tracker``."""
        return f"BT_TRACK_{self.word.upper().replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class TrackerId:
    """An id that is included or excluded.

    :ivar kind: the word of its :class:`TrackerKind`.
    :ivar value: a number, or a process's name.
    :ivar excluded: it is not wanted.
    :ivar only_itself: of a namespace: those nested in it are not meant.
    """

    kind: str
    value: int | bytes
    excluded: bool = False
    only_itself: bool = False

    def __str__(self) -> str:
        value = self.value.decode(errors="replace") if isinstance(self.value, bytes) else self.value
        return f"{'!' if self.excluded else ''}{'=' if self.only_itself else ''}{value}"


def _number(word: str, text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= value <= _MOST:
        raise UsageError(f"--{word} {text!r} is no number from 0 to {_MOST}")
    return value


def _user(word: str, text: str) -> int:
    return _named(word, text, lambda: pwd.getpwnam(text).pw_uid)


def _group(word: str, text: str) -> int:
    return _named(word, text, lambda: grp.getgrnam(text).gr_gid)


def _named(word: str, text: str, look_up: Callable[[], int]) -> int:
    if text[:1].isdecimal():
        return _number(word, text)
    try:
        return look_up()
    except KeyError:
        raise SelectionError(f"--{word}: this host knows no {text!r}", hint="give the number") from None


def _name(word: str, text: str) -> bytes:
    if not text:
        raise UsageError(f"--{word}: a name is not empty")
    return text.encode(errors="surrogateescape")[:_NAME_BYTES]


def _namespace(word: str, what: str, *, nested: bool = False) -> TrackerKind:
    inside = " and those nested in it; =INUM: only itself" if nested else ""
    return TrackerKind(word, "INUM", f"Record {what} namespace (number from lsns){inside}.", _number, nested)


KINDS: Final[Mapping[str, TrackerKind]] = {
    kind.word: kind
    for kind in (
        TrackerKind("pid", "PID", "Record the threads of this process.", _number),
        _namespace("pid-ns", "a pid", nested=True),
        _namespace("user-ns", "a user", nested=True),
        _namespace("cgroup-ns", "a cgroup"),
        _namespace("ipc-ns", "an ipc"),
        _namespace("mnt-ns", "a mount"),
        _namespace("net-ns", "a network"),
        _namespace("time-ns", "a time"),
        _namespace("uts-ns", "a uts"),
        TrackerKind("vpid", "PID", "Record processes with this number in their own pid namespace.", _number),
        TrackerKind("uid", "USER", "Record what runs as this user (real user id).", _user),
        TrackerKind("vuid", "UID", "The same by the number in the process's own user namespace.", _number),
        TrackerKind("gid", "GROUP", "Record what runs as this group (real group id).", _group),
        TrackerKind("vgid", "GID", "The same by the number in the process's own user namespace.", _number),
        TrackerKind("procname", "NAME", "Record threads of this name (its first 15 bytes, as ps -o comm).", _name),
    )
}
"""Every kind, by its word, in the order of the help text."""


def parse_id(word: str, text: str) -> TrackerId:
    """Make an id of what a user wrote: ``VALUE``, or ``!VALUE`` to exclude it; ``=VALUE`` for a namespace alone.

    :raises UsageError: for a kind or a value that cannot be.
    :raises SelectionError: for a user or group that this host does not know.
    """
    kind = KINDS.get(word)
    if kind is None:
        raise UsageError(f"{word!r} is no kind of id", hint=f"one of: {', '.join(KINDS)}")
    excluded = text.startswith("!")
    rest = text.removeprefix("!")
    only_itself = kind.nested and rest.startswith("=")
    return TrackerId(word, kind.parse(word, rest.removeprefix("=") if only_itself else rest), excluded, only_itself)
