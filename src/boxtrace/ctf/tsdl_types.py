"""Types of a TSDL text as declared: names with their underscores, lengths and tags still paths.

The builder makes them from the parse tree, the resolver turns them into the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from lark import Token

from boxtrace.ctf.fields import FloatField, IntegerField, StringField

__all__ = [
    "DeclaredArray",
    "DeclaredEvent",
    "DeclaredInteger",
    "DeclaredStream",
    "DeclaredStruct",
    "DeclaredType",
    "DeclaredVariant",
    "TypeScope",
]


@dataclass(frozen=True, slots=True)
class DeclaredInteger:
    """An integer or enumeration; ``encoded`` if it is a character, so that an array of it is text."""

    field: IntegerField
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredArray:
    """An array (``length`` is a number) or a sequence (``length`` is the path of its length)."""

    element: DeclaredType
    length: int | str


@dataclass(frozen=True, slots=True)
class DeclaredStruct:
    """A structure: member names and types in order."""

    members: tuple[tuple[str, DeclaredType], ...]
    align: int = 1


@dataclass(frozen=True, slots=True)
class DeclaredVariant:
    """A variant; ``tag`` is None until a use of the named variant gives it."""

    options: tuple[tuple[str, DeclaredType], ...]
    tag: str | None = None


DeclaredType: TypeAlias = DeclaredInteger | DeclaredArray | DeclaredStruct | DeclaredVariant | FloatField | StringField


@dataclass(slots=True)
class DeclaredStream:
    """A ``stream`` block."""

    id: int = 0
    packet_context: DeclaredStruct | None = None
    event_header: DeclaredStruct | None = None
    event_context: DeclaredStruct | None = None
    place: Token | None = None
    """Where the block begins."""


@dataclass(slots=True)
class DeclaredEvent:
    """An ``event`` block."""

    name: str = ""
    id: int = 0
    stream_id: int | None = None
    context: DeclaredStruct | None = None
    fields: DeclaredStruct | None = None
    loglevel: int | None = None
    uri: str | None = None
    place: Token | None = None
    """Where the block begins."""


@dataclass(slots=True)
class TypeScope:
    """Names that a block declares; what it does not know, the block around it may."""

    parent: TypeScope | None = None
    names: dict[tuple[str, str], DeclaredType] = field(default_factory=dict)

    def declare(self, kind: str, name: str, declared: DeclaredType) -> bool:
        """Take in a name; False if this block has declared it already."""
        if (kind, name) in self.names:
            return False
        self.names[kind, name] = declared
        return True

    def find(self, kind: str, name: str) -> DeclaredType | None:
        """Return the type of that name; ``kind`` is ``struct``, ``variant``, ``enum`` or ``alias``."""
        scope: TypeScope | None = self
        while scope is not None:
            if (found := scope.names.get((kind, name))) is not None:
                return found
            scope = scope.parent
        return None
