"""The kernel's own description of its trace events, as tracefs gives it.

``events/<group>/<name>/format`` tells the layout of the record that a classic tracepoint program receives. See
Documentation/trace/events.rst in the kernel's sources for the file format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from boxtrace.errors import CapabilityError

__all__ = ["EventFormat", "FormatField", "Tracefs", "parse_format"]

_MOUNT_POINTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_MOUNT_HINT = "mount -t tracefs tracefs /sys/kernel/tracing"

_FIELD = re.compile(r"^\s*field:(?P<declaration>.+?);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);"
                    r"(?:\s*signed:(?P<signed>[01]);)?", re.MULTILINE)  # fmt: skip
_ARRAY = re.compile(r"\s*\[\s*(?P<length>[^\]]*?)\s*\]")
_LAST_NAME = re.compile(r"(?P<type>.*?)(?P<name>\w+)\s*$", re.DOTALL)
_DYNAMIC = re.compile(r"^__(?P<kind>data|rel)_loc\s+")


@dataclass(frozen=True, slots=True)
class FormatField:
    """One field of a trace record.

    :param name: the field's name.
    :param c_type: its C type as the kernel spells it, without array brackets; of the elements, for an array.
    :param offset: where it starts in the record, in bytes.
    :param size: its size in the record in bytes: the whole array; 4 for a dynamic field.
    :param signed: whether it (an element of it) is a signed integer.
    :param elements: number of elements of a fixed array (when the kernel gives a number); 0 when a dynamic array, or
        when the length is a symbol; None when this is no array.
    :param dynamic: ``data`` or ``rel`` when the record holds only a 32-bit locator of the data: the length in its upper
        half, in the lower the offset from the record's start (``data``) or from the locator's end (``rel``).
    """

    name: str
    c_type: str
    offset: int
    size: int
    signed: bool
    elements: int | None = None
    dynamic: str | None = None

    @property
    def is_pointer(self) -> bool:
        """Whether the value is an address."""
        return self.elements is None and self.c_type.endswith("*")


@dataclass(frozen=True, slots=True)
class EventFormat:
    """The layout of one trace event's record.

    :param group: the trace system, such as ``sched``.
    :param name: the event's name within it.
    :param event_id: the kernel's number of the event, valid until the next boot or module load.
    :param common: the fields that every record starts with.
    :param fields: the fields of this event, in the order of the record.
    :param print_format: how the kernel would print it: a printf format and its arguments, as C source.
    """

    group: str
    name: str
    event_id: int
    common: tuple[FormatField, ...]
    fields: tuple[FormatField, ...]
    print_format: str = ""


def _parse_field(match: re.Match[str]) -> FormatField:
    declaration = match["declaration"].strip()
    size, signed = int(match["size"]), match["signed"] == "1"
    dynamic = _DYNAMIC.match(declaration)
    if dynamic:
        declaration = declaration[dynamic.end() :]
    array = _ARRAY.search(declaration)
    elements: int | None = None
    if array:
        elements = int(array["length"]) if array["length"].isdigit() and not dynamic else 0
        declaration = declaration[: array.start()] + " " + declaration[array.end() :]
    named = _LAST_NAME.match(declaration)
    if named is None:  # an unnamed field has only a place
        name, c_type = f"field_{match['offset']}", declaration
    else:
        name, c_type = named["name"], named["type"]
    return FormatField(
        name,
        " ".join(c_type.split()),
        int(match["offset"]),
        size,
        signed,
        elements,
        dynamic["kind"] if dynamic else None,
    )


def parse_format(text: str, group: str) -> EventFormat:
    """Parse the content of an event's ``format`` file; lines that are not understood are ignored.

    :raises CapabilityError: when it has no name or no id: the file is not what a kernel writes.
    """
    head, _, print_format = text.partition("\nprint fmt:")
    name = re.search(r"^name:\s*(\S+)", head, re.MULTILINE)
    event_id = re.search(r"^ID:\s*(\d+)", head, re.MULTILINE)
    if name is None or event_id is None:
        raise CapabilityError(f"the kernel's description of an event of {group!r} cannot be understood")
    fields = tuple(_parse_field(match) for match in _FIELD.finditer(head))
    common = tuple(field for field in fields if field.name.startswith("common_"))
    return EventFormat(group, name[1], int(event_id[1]), common, fields[len(common) :], print_format.strip())


class Tracefs:
    """A mounted tracefs.

    :param root: its mount point.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def find(cls, mount_points: tuple[Path, ...] = _MOUNT_POINTS) -> Tracefs:
        """Return the tracefs of this machine.

        :raises CapabilityError: when it is not mounted, or not readable by this user.
        """
        denied: Path | None = None
        for root in mount_points:
            try:
                next((root / "events").iterdir(), None)
            except PermissionError:
                denied = root
            except OSError:
                continue
            else:
                return cls(root)
        if denied is not None:
            raise CapabilityError(
                f"{denied} is not readable by this user", missing=("CAP_DAC_READ_SEARCH",), hint="run as root"
            )
        raise CapabilityError("tracefs is not mounted", missing=("tracefs",), hint=_MOUNT_HINT)

    def groups(self) -> list[str]:
        """Return the names of the trace systems, sorted."""
        return sorted(path.name for path in (self.root / "events").iterdir() if path.is_dir())

    def names(self, group: str) -> list[str]:
        """Return the names of a group's events, sorted; none when the kernel has no such group."""
        try:
            return sorted(path.name for path in (self.root / "events" / group).iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def events(self) -> Iterator[tuple[str, str]]:
        """Yield group and name of every event of the running kernel."""
        for group in self.groups():
            for name in self.names(group):
                yield group, name

    def has(self, group: str, name: str) -> bool:
        """Whether the running kernel has this event."""
        return (self.root / "events" / group / name / "format").exists()

    def format(self, group: str, name: str) -> EventFormat:
        """Return the layout of an event's record.

        :raises CapabilityError: when the kernel has no such event, or does not describe it to this user.
        """
        path = self.root / "events" / group / name / "format"
        try:
            return parse_format(path.read_text(), group)
        except OSError as error:
            raise CapabilityError(
                f"the kernel does not describe the event {group}:{name} ({error.strerror})",
                missing=(f"{group}:{name}",),
            ) from error
