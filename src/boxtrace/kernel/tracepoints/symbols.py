"""Names of values, from the way in which the kernel would print a trace record.

``__print_symbolic(REC->field, { value, "label" }, ...)`` in the last line of an event's ``format`` file. Values are
numbers or expressions of numbers; a name that the kernel left in there is asked for in its type information.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import suppress

from boxtrace.ctf.fields import EnumMapping
from boxtrace.kernel.btf import kernel_btf

__all__ = ["flag_bit", "print_symbols"]

_SYMBOLIC = re.compile(r"__print_symbolic\(\s*\(*REC->(\w+)\)*\s*,\s*")
_PAIR = re.compile(r'\{\s*(?P<value>[^{}"]+?)\s*,\s*"(?P<label>(?:[^"\\]|\\.)*)"\s*\}\s*(?P<more>,?)\s*')
_SUFFIX = re.compile(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b")
_NAME = re.compile(r"^\(*(\w+)\)*$")
_OCTAL = re.compile(r"^0\d+$")
_CAST = re.compile(r"\(\s*(?:unsigned |signed )?(?:int|long|long long|char|short|u8|u16|u32|u64|gfp_t)\s*\)")

Enumerators = Callable[[str, str], int | None]


def _enumerator(c_type: str, name: str) -> int | None:
    if not c_type.startswith("enum "):
        return None
    with suppress(OSError):
        return kernel_btf().enumerator(c_type.removeprefix("enum "), name)
    return None


def _evaluate(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = _evaluate(operand)
            return None if negated is None else -negated
        case ast.BinOp(left=left, op=operation, right=right):
            first, second = _evaluate(left), _evaluate(right)
            if first is None or second is None:
                return None
            match operation:
                case ast.LShift() if 0 <= second < 64:
                    return first << second
                case ast.BitOr():
                    return first | second
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
    return None


def _number(text: str, c_type: str, enumerator: Enumerators) -> int | None:
    text = _SUFFIX.sub(r"\1", _CAST.sub("", text)).strip()
    if _OCTAL.match(text):
        return int(text, 8)
    try:
        value = _evaluate(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return None
    name = _NAME.match(text)
    return enumerator(c_type, name[1]) if value is None and name else value


def flag_bit(print_format: str, label: str) -> int | None:
    """Return the number of the bit that ``__print_flags`` shows by this label; None if there is none."""
    shifted = re.search(rf'<<\s*\(*(\d+)\)*\s*,\s*"{label}"', print_format)
    if shifted:
        return int(shifted[1])
    mask = re.search(rf'\b(0x[0-9a-fA-F]+)u?\)*\s*,\s*"{label}"', print_format)
    return int(mask[1], 16).bit_length() - 1 if mask else None


def print_symbols(
    print_format: str, field: str, c_type: str, size: int, signed: bool, enumerator: Enumerators = _enumerator
) -> tuple[EnumMapping, ...]:
    """Return the labels of a field's values; none when the kernel does not print it so, or not intelligibly.

    :param print_format: the ``print fmt`` line.
    :param c_type: the field's, by which names of values are found.
    :param size: of the integer that is recorded, in bytes; a value that does not fit has no label.
    :param enumerator: tells the value of an enumerator, by C type and name.
    """
    start = next((match.end() for match in _SYMBOLIC.finditer(print_format) if match[1] == field), None)
    if start is None:
        return ()
    low, high = (-(1 << size * 8 - 1), (1 << size * 8 - 1) - 1) if signed else (0, (1 << size * 8) - 1)
    labels: dict[int, str] = {}
    pair = _PAIR.match(print_format, start)
    while pair:
        value = _number(pair["value"], c_type, enumerator)
        if value is None:
            return ()
        if value < 0 and not signed:
            value &= high
        if low <= value <= high:
            labels.setdefault(value, pair["label"])
        pair = _PAIR.match(print_format, pair.end()) if pair["more"] else None
    ranges: dict[str, list[tuple[int, int]]] = {}
    for value, label in sorted(labels.items()):
        ranges.setdefault(label, []).append((value, value))
    return tuple(EnumMapping(label, tuple(values)) for label, values in ranges.items() if label)
