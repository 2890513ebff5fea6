"""From a bound expression to the BPF function that decides in the kernel, before an event is recorded.

What the kernel cannot decide (a field that is not known yet, floating point) is left to the reading of the trace: the
kernel then tests less, and records more than is wanted, never less.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from boxtrace.filters.assembler import Assembler, Instruction, Label, TooLongError, longest_path
from boxtrace.filters.binding import Binding
from boxtrace.filters.codegen import Codegen, Outcome, obstacle
from boxtrace.filters.inputs import InputLayout
from boxtrace.filters.simplify import simplify
from boxtrace.filters.syntax import Integer, Logical, Node

__all__ = ["MAX_INSTRUCTIONS", "CompiledFilter", "Postponed", "compile_filter"]

MAX_INSTRUCTIONS: Final = 4096
"""Of one filter. The kernel takes programs of a million, but looks at each of them, on every path."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A part of an expression that is decided only when the trace is read, and why."""

    node: Node
    reason: str


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A filter as a BPF function.

    :param node: what the kernel decides; an ``Integer`` if that does not depend on the event.
    :param postponed: the rest. Without it, the kernel's verdict is that of the whole expression.
    """

    binding: Binding
    node: Node
    instructions: tuple[Instruction, ...]
    postponed: tuple[Postponed, ...]

    @property
    def verdict(self) -> bool | None:
        """The verdict if it is the same for every event, else None."""
        return bool(self.node.value) if isinstance(self.node, Integer) else None

    @property
    def size(self) -> int:
        """How many ``struct bpf_insn`` it takes."""
        return sum(instruction.slots for instruction in self.instructions)

    @property
    def longest_path(self) -> int:
        """How many instructions are executed at most."""
        return longest_path(self.instructions)


def compile_filter(binding: Binding, layout: InputLayout, *, limit: int = MAX_INSTRUCTIONS) -> CompiledFilter:
    """Compile as much of an expression as the kernel can decide.

    :param layout: where the function finds contexts and fields.
    :param limit: how many instructions it may have at most.
    """
    postponed: list[Postponed] = []
    root = simplify(binding, binding.root)
    node = simplify(binding, _weaker(binding, root, layout, postponed))
    with suppress(TooLongError):
        compiled = CompiledFilter(binding, node, _function(binding, node, layout), tuple(postponed))
        if compiled.size <= limit:
            return compiled
    postponed.append(Postponed(node, f"it takes more than {limit} instructions"))
    everything = Integer(1, 0)
    return CompiledFilter(binding, everything, _function(binding, everything, layout), tuple(postponed))


def _weaker(binding: Binding, node: Node, layout: InputLayout, postponed: list[Postponed]) -> Node:
    """Return what can be compiled of a condition, such that it is true whenever the condition is."""
    if isinstance(node, Logical):
        found: list[Postponed] = []
        terms = tuple(_weaker(binding, term, layout, found) for term in node.terms)
        if not found or node.operator == "&&":
            postponed += found
            return Logical(node.operator, terms, node.at, node.depth)
        # One term that may be true is enough for the whole to be: the others decide nothing.
        postponed.append(Postponed(node, found[0].reason))
        return Integer(1, node.at)
    reason = obstacle(binding, node, layout)
    if reason is None:
        return node
    postponed.append(Postponed(node, reason))
    return Integer(1, node.at)


def _function(binding: Binding, node: Node, layout: InputLayout) -> tuple[Instruction, ...]:
    code = Assembler()
    yes, no = Label(), Label()
    Codegen(binding, layout, code, no).condition(node, Outcome(yes, no, yes))
    code.bind(yes)
    code.result(1)
    code.bind(no)
    code.result(0)
    return code.finish()
