"""What a filter expression is made of: its syntax tree, before anything is known of the events.

Every node knows where it begins in the expression (``at``, a character index), for errors, and how deep the tree below
it is, so that the parser can bound what others walk recursively.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

__all__ = [
    "BITWISE",
    "COMPARISONS",
    "ORDERINGS",
    "SHIFTS",
    "Binary",
    "Field",
    "Float",
    "Integer",
    "Logical",
    "Node",
    "Root",
    "Text",
    "Unary",
]

SHIFTS = frozenset({"<<", ">>"})
BITWISE = frozenset({"&", "^", "|"}) | SHIFTS
ORDERINGS = frozenset({"<", "<=", ">", ">="})
COMPARISONS = ORDERINGS | {"==", "!="}


class Root(Enum):
    """What a field name is looked up in."""

    PAYLOAD = "payload"
    CONTEXT = "$ctx"
    APPLICATION = "$app"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer literal, as the signed 64-bit number that its bits mean."""

    value: int
    at: int
    depth: int = field(default=1, init=False)


@dataclass(frozen=True, slots=True)
class Float:
    """A floating point literal."""

    value: float
    at: int
    depth: int = field(default=1, init=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal: what stands between its wildcards. One piece is plain text."""

    pieces: tuple[bytes, ...]
    at: int
    depth: int = field(default=1, init=False)


@dataclass(frozen=True, slots=True)
class Field:
    """A field or context, with the members (names) and elements (numbers) on the way into it."""

    root: Root
    path: tuple[str | int, ...]
    at: int
    places: tuple[int, ...]
    """Where each element of ``path`` stands in the expression."""
    depth: int = field(default=1, init=False)

    def __str__(self) -> str:
        text = "" if self.root is Root.PAYLOAD else f"{self.root.value}."
        for number, step in enumerate(self.path):
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if number else step
        return text


@dataclass(frozen=True, slots=True)
class Unary:
    """``-``, ``+``, ``!`` or ``~`` of an operand."""

    operator: str
    operand: Node
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Binary:
    """A bit operation, shift or comparison; ``at`` is the operator's place."""

    operator: str
    left: Node
    right: Node
    at: int
    depth: int


@dataclass(frozen=True, slots=True)
class Logical:
    """``&&`` or ``||`` of two terms or more, from the left until one decides; ``at`` is the first operator's place."""

    operator: str
    terms: tuple[Node, ...]
    at: int
    depth: int


Node: TypeAlias = Integer | Float | Text | Field | Unary | Binary | Logical
"""Any node; a closed set, to be taken apart with ``match``."""
