"""BPF instructions for expressions: conditions become jumps, values are computed in registers.

Every part of a tree is either a condition (it ends in a jump to one of two labels) or a value (it ends in a register).
Comparisons of a field with a constant, which is what filters are made of, are a load and a jump.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from boxtrace.filters.assembler import Assembler, Label, fits_imm
from boxtrace.filters.binding import Binding, Type
from boxtrace.filters.inputs import InputLayout, Place
from boxtrace.filters.operations import BINARY
from boxtrace.filters.simplify import is_boolean
from boxtrace.filters.syntax import COMPARISONS, SHIFTS, Binary, Field, Integer, Logical, Node, Text, Unary
from boxtrace.filters.textcode import MAX_SEARCHED, TextCode, Verdicts

__all__ = ["REGISTERS", "Codegen", "Outcome", "obstacle"]

REGISTERS: Final = (0, 3, 4, 5, 6, 7, 8, 9)
"""For values; those of the inputs are kept. The first ones need no saving in machine code."""

_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


class Outcome:
    """Where a condition leads: to ``yes`` or ``no``, one of which may be the code that follows (``next``)."""

    __slots__ = ("next", "no", "yes")

    def __init__(self, yes: Label, no: Label, following: Label | None) -> None:
        self.yes = yes
        self.no = no
        self.next = following

    def negated(self) -> Outcome:
        """Return the outcome with its labels exchanged."""
        return Outcome(self.no, self.yes, self.next)


def obstacle(binding: Binding, node: Node, layout: InputLayout) -> str | None:
    """Return why a tree cannot be compiled, None if it can."""
    match node:
        case Field():
            bound = binding.fields[node]
            if bound.type is Type.FLOAT:
                return "BPF has no floating point numbers"
            return f"{node} is not known before the event is recorded" if layout.place(bound) is None else None
        case Unary():
            return obstacle(binding, node.operand, layout)
        case Binary():
            found = obstacle(binding, node.left, layout) or obstacle(binding, node.right, layout)
            if found is None and binding.type_of(node.left) is Type.TEXT:
                return _text_obstacle(binding, node, layout)
            return found or _too_deep(node)
        case Logical():
            return next((why for term in node.terms if (why := obstacle(binding, term, layout)) is not None), None)
        case Integer() | Text():
            return None
        case _:
            return "BPF has no floating point numbers"


def _too_deep(node: Node) -> str | None:
    return "it needs more registers than there are" if _need(node) > len(REGISTERS) else None


def _text_obstacle(binding: Binding, node: Binary, layout: InputLayout) -> str | None:
    fields = [operand for operand in (node.left, node.right) if isinstance(operand, Field)]
    literal = next((operand for operand in (node.left, node.right) if isinstance(operand, Text)), None)
    rooms = [place.size for each in fields if (place := layout.place(binding.fields[each])) is not None]
    if literal is None:
        searched = True
    else:
        searched = len(literal.pieces) > 2 or (len(literal.pieces) == 2 and literal.pieces[1] != b"")
    if searched and max(rooms) > MAX_SEARCHED:
        return f"text of more than {MAX_SEARCHED} bytes is not searched in the kernel"
    return None


def _need(node: Node) -> int:
    """Return how many registers a value or condition takes."""
    match node:
        case Unary():
            return _need(node.operand)
        case Logical():
            return max(map(_need, node.terms))
        case Binary():
            left, right = _need(node.left), _need(node.right)
            return left + 1 if left == right else max(left, right)
        case Text():
            return 2
        case _:
            return 1


class Codegen:
    """Makes the code of one function.

    :param code: where instructions go.
    :param undecided: where to go when the whole filter is false.
    """

    def __init__(self, binding: Binding, layout: InputLayout, code: Assembler, undecided: Label) -> None:
        self._binding = binding
        self._layout = layout
        self._code = code
        self._undecided = undecided

    def condition(self, node: Node, outcome: Outcome, registers: tuple[int, ...] = REGISTERS) -> None:
        """Make code that goes to one of two labels, or on to what follows if that is bound there."""
        match node:
            case Integer():
                self._code.jump(outcome.yes if node.value else outcome.no)
            case Unary("!"):
                self.condition(node.operand, outcome.negated(), registers)
            case Logical():
                self._logical(node, outcome, registers)
            case Binary() if node.operator in COMPARISONS:
                self._comparison(node, outcome, registers)
            case Binary("&", right=Integer(value=mask)) if fits_imm(mask):
                self._value(node.left, registers)
                self._branch(outcome, lambda target: self._code.jump_if_imm("&", registers[0], mask, target))
            case _:
                self._truth(node, outcome, registers)

    def _truth(self, node: Node, outcome: Outcome, registers: tuple[int, ...]) -> None:
        self._value(node, registers)
        self._compare_imm("!=", registers[0], 0, outcome)

    def _logical(self, node: Logical, outcome: Outcome, registers: tuple[int, ...]) -> None:
        *terms, last = node.terms
        for term in terms:
            following = Label()
            if node.operator == "&&":
                self.condition(term, Outcome(following, outcome.no, following), registers)
            else:
                self.condition(term, Outcome(outcome.yes, following, following), registers)
            self._code.bind(following)
        self.condition(last, outcome, registers)

    def _branch(self, outcome: Outcome, jump_if: Callable[[Label], None]) -> None:
        """Jump to ``yes`` if, else to ``no``."""
        jump_if(outcome.yes)
        if outcome.next is not outcome.no:
            self._code.jump(outcome.no)

    def _compare_imm(
        self, operator: str, register: int, value: int, outcome: Outcome, *, narrow: bool = False, signed: bool = True
    ) -> None:
        if outcome.next is outcome.yes:
            operator, outcome = _NEGATED[operator], outcome.negated()
        name = _condition_name(operator, signed)
        self._branch(outcome, lambda target: self._code.jump_if_imm(name, register, value, target, narrow=narrow))

    def _comparison(self, node: Binary, outcome: Outcome, registers: tuple[int, ...]) -> None:
        left, right, operator = node.left, node.right, node.operator
        if isinstance(left, (Integer, Text)):
            left, right, operator = right, left, _MIRRORED[operator]
        if self._binding.type_of(left) is Type.TEXT:
            self._text(left, right, operator, outcome, registers)
        elif isinstance(right, Integer):
            self._compare_constant(left, operator, right.value, outcome, registers)
        else:
            first, second = self._pair(left, right, registers)
            if outcome.next is outcome.yes:
                operator, outcome = _NEGATED[operator], outcome.negated()
            name = _condition_name(operator, signed=True)
            self._branch(outcome, lambda target: self._code.jump_if(name, first, second, target))

    def _compare_constant(
        self, node: Node, operator: str, value: int, outcome: Outcome, registers: tuple[int, ...]
    ) -> None:
        if value == 0 and operator in ("==", "!=") and is_boolean(node):
            self.condition(node, outcome if operator == "!=" else outcome.negated(), registers)
        elif isinstance(node, Field):
            self._compare_field(node, operator, value, outcome, registers)
        else:
            self._value(node, registers)
            self._compare_register(operator, value, outcome, registers)

    def _compare_register(self, operator: str, value: int, outcome: Outcome, registers: tuple[int, ...]) -> None:
        if fits_imm(value):
            self._compare_imm(operator, registers[0], value, outcome)
            return
        self._code.move(registers[1], value)
        if outcome.next is outcome.yes:
            operator, outcome = _NEGATED[operator], outcome.negated()
        name = _condition_name(operator, signed=True)
        self._branch(outcome, lambda target: self._code.jump_if(name, registers[0], registers[1], target))

    def _compare_field(
        self, node: Field, operator: str, value: int, outcome: Outcome, registers: tuple[int, ...]
    ) -> None:
        place = self._place(node)
        register = registers[0]
        verdict = _constant_verdict(place, operator, value)
        if verdict is not None:
            self._code.jump(outcome.yes if verdict else outcome.no)
        elif place.size == 8:
            self._value(node, registers)
            self._compare_register(operator, value, outcome, registers)
        elif operator in ("==", "!="):
            self._code.load(register, place.base, place.offset, place.size, str(node))
            bits = value & ((1 << place.size * 8) - 1)
            self._compare_imm(operator, register, bits, outcome, narrow=True)
        elif place.size == 4:
            self._code.load(register, place.base, place.offset, place.size, str(node))
            self._compare_imm(operator, register, value, outcome, narrow=True, signed=place.signed)
        else:
            self._value(node, registers)
            self._compare_imm(operator, register, value, outcome)

    def _text(self, left: Node, right: Node, operator: str, outcome: Outcome, registers: tuple[int, ...]) -> None:
        assert isinstance(left, Field)
        code = TextCode(self._code, registers[0], registers[1])
        verdicts = Verdicts.of(operator, outcome.yes, outcome.no)
        if isinstance(right, Field):
            code.compare_fields(self._place(left), self._place(right), verdicts, (str(left), str(right)))
            return
        assert isinstance(right, Text)
        place, note = self._place(left), str(left)
        if operator in ("==", "!="):
            code.match(place, right.pieces, verdicts.equal, verdicts.less, note)
        else:
            code.compare(place, right.pieces[0], verdicts, note)

    def _value(self, node: Node, registers: tuple[int, ...]) -> None:
        """Make code that leaves a number in the first of the registers; the others may change."""
        register = registers[0]
        match node:
            case Integer():
                self._code.move(register, node.value)
            case Field():
                place = self._place(node)
                self._code.load(register, place.base, place.offset, place.size, str(node))
                if place.signed and place.size < 8:
                    self._code.operate_imm("<<", register, 64 - place.size * 8)
                    self._code.operate_imm("s>>", register, 64 - place.size * 8)
            case Unary("-"):
                self._value(node.operand, registers)
                self._code.negate(register)
            case Unary("~"):
                self._value(node.operand, registers)
                self._code.operate_imm("^", register, -1)
            case Unary("+"):
                self._value(node.operand, registers)
            case Binary() if node.operator not in COMPARISONS:
                self._operation(node, registers)
            case _:
                self._zero_or_one(node, registers)

    def _zero_or_one(self, node: Node, registers: tuple[int, ...]) -> None:
        yes, no, end = Label(), Label(), Label()
        self.condition(node, Outcome(yes, no, yes), registers)
        self._code.bind(yes)
        self._code.move(registers[0], 1)
        self._code.jump(end)
        self._code.bind(no)
        self._code.move(registers[0], 0)
        self._code.bind(end)

    def _operation(self, node: Binary, registers: tuple[int, ...]) -> None:
        left, right, operator = node.left, node.right, node.operator
        if operator in SHIFTS and isinstance(right, Integer):
            if 0 <= right.value <= 63:
                self._value(left, registers)
                self._code.operate_imm(operator, registers[0], right.value)
            else:
                self._code.jump(self._undecided)
            return
        if operator not in SHIFTS and isinstance(left, Integer):
            left, right = right, left
        if isinstance(right, Integer) and fits_imm(right.value):
            self._value(left, registers)
            self._code.operate_imm(operator, registers[0], right.value)
            return
        first, second = self._pair(left, right, registers)
        if operator in SHIFTS:
            self._code.jump_if_imm(">", second, 63, self._undecided)
        self._code.operate(operator, first, second)

    def _pair(self, left: Node, right: Node, registers: tuple[int, ...]) -> tuple[int, int]:
        """Compute two values, in the first two of the registers, the one that needs more of them first."""
        first, second, *others = registers
        if _need(right) > _need(left):
            self._value(right, (second, first, *others))
            self._value(left, (first, *others))
        else:
            self._value(left, registers)
            self._value(right, (second, *others))
        return first, second

    def _place(self, node: Field) -> Place:
        place = self._layout.place(self._binding.fields[node])
        assert place is not None
        return place


def _constant_verdict(place: Place, operator: str, value: int) -> bool | None:
    """Return how a comparison of an integer field with a number ends if it always ends alike, else None."""
    bits = place.size * 8
    low = -(1 << bits - 1) if place.signed or bits == 64 else 0
    high = low + (1 << bits) - 1
    if operator in ("==", "!="):
        return None if low <= value <= high else operator == "!="
    at_low, at_high = (bool(BINARY[operator](end, value)) for end in (low, high))
    return at_low if at_low == at_high else None


_SIGNED: Final[Mapping[str, str]] = {"<": "s<", "<=": "s<=", ">": "s>", ">=": "s>="}


def _condition_name(operator: str, signed: bool) -> str:
    return _SIGNED.get(operator, operator) if signed else operator
