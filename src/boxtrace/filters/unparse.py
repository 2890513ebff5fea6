"""An expression's tree written out again, with the parentheses that show how it was understood."""

from __future__ import annotations

from boxtrace.filters.syntax import Binary, Field, Float, Integer, Logical, Node, Text, Unary

__all__ = ["unparse"]


def unparse(node: Node, *, inner: bool = False) -> str:
    """Return an expression that means what the tree means."""
    match node:
        case Integer():
            return str(node.value) if -4096 < node.value < 1 << 32 else hex(node.value & (1 << 64) - 1)
        case Float():
            return repr(node.value)
        case Text():
            return '"' + "*".join(map(_piece, node.pieces)) + '"'
        case Field():
            return str(node)
        case Unary():
            return f"{node.operator}{unparse(node.operand, inner=True)}"
        case Binary():
            text = f"{unparse(node.left, inner=True)} {node.operator} {unparse(node.right, inner=True)}"
        case Logical():
            text = f" {node.operator} ".join(unparse(term, inner=True) for term in node.terms)
    return f"({text})" if inner else text


def _piece(piece: bytes) -> str:
    return "".join(
        f"\\{char}" if char in '"\\*' else char if char.isprintable() else _escaped(char)
        for char in piece.decode("utf-8", "surrogateescape")
    )


def _escaped(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
