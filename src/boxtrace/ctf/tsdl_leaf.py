"""TSDL's leaf types: the text between the braces of ``integer``, ``floating_point`` and ``string``."""

from __future__ import annotations

import re

from boxtrace.ctf.fields import ByteOrder, DisplayBase, Encoding, FloatField, IntegerField, StringField
from boxtrace.ctf.layout import alignment
from boxtrace.ctf.tsdl_types import DeclaredInteger

__all__ = ["parse_boolean", "parse_byte_order", "parse_float", "parse_integer", "parse_number", "parse_string"]

_ATTRIBUTE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*\Z", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_NUMBER = re.compile(r"\s*([+-]?)\s*(0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)[uUlL]*\s*\Z")
_MOST_DIGITS = 80
"""No number of 64 bits needs more in any base."""
_BASES = {
    DisplayBase.BINARY: "2 b binary",
    DisplayBase.OCTAL: "8 o oct octal",
    DisplayBase.DECIMAL: "10 d i u dec decimal",
    DisplayBase.HEXADECIMAL: "16 x X p hex hexadecimal",
}
_BASE_NAMES = {name: base for base, names in _BASES.items() for name in names.split()}
_FLOAT_SIZES = {(5, 11): 16, (8, 24): 32, (11, 53): 64, (15, 113): 128}


def _attributes(text: str) -> dict[str, str]:
    body = _COMMENT.sub(" ", text[text.index("{") + 1 : text.rindex("}")]) if "{" in text else ""
    attributes: dict[str, str] = {}
    for part in body.split(";"):
        if not part.strip():
            continue
        if (match := _ATTRIBUTE.match(part)) is None:
            raise ValueError(f"expected 'name = value', found {part.strip()!r}")
        name, value = match.groups()
        if name in attributes:
            raise ValueError(f"attribute {name!r} is given twice")
        attributes[name] = value
    if body.strip()[-1:] not in (";", ""):
        raise ValueError(f"expected ';' after {body.rpartition(';')[2].strip()!r}")
    return attributes


def _word(text: str) -> str:
    """Return a word: a number in quotes is none."""
    bare = text.strip('"')
    return bare if bare == text or not bare[:1].isdigit() else text


def parse_number(text: str) -> int:
    """Return the value of an integer constant: decimal, octal with a leading 0, ``0x``, ``0b``, C suffixes."""
    if (match := _NUMBER.match(text)) is None:
        raise ValueError(f"{text.strip()!r} is not an integer")
    sign, digits = match.groups()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    if len(digits) > _MOST_DIGITS or (value := int(digits, 8 if octal else 0)) >= 1 << 64:
        raise ValueError(f"{text.strip()[:_MOST_DIGITS]} does not fit in 64 bits")
    return -value if sign == "-" else value


def parse_boolean(text: str) -> bool:
    """Return the value of a boolean constant; a number is true if it is not 0."""
    if _word(text) in ("true", "TRUE"):
        return True
    if _word(text) in ("false", "FALSE"):
        return False
    return parse_number(text) != 0


def parse_byte_order(text: str, native: ByteOrder | None) -> ByteOrder:
    """Return the byte order that a constant means; ``native`` is the trace's, None where it is not allowed."""
    match _word(text):
        case "le":
            return ByteOrder.LITTLE
        case "be" | "network":
            return ByteOrder.BIG
        case "native" if native is not None:
            return native
        case _:
            raise ValueError(f"unknown byte order {text!r}")


def parse_integer(text: str, native: ByteOrder) -> DeclaredInteger:
    """Return the type that an ``integer { ... }`` declares in a trace of that byte order."""
    values = _attributes(text)
    if "size" not in values:
        raise ValueError("an integer needs a size")
    size = parse_number(values["size"])
    if not 1 <= size <= 64:
        raise ValueError(f"integer size {size} is not in 1 ... 64")
    base = _word(values.get("base", "10"))
    if base not in _BASE_NAMES:
        raise ValueError(f"unknown base {base!r}")
    clock = values.get("map")
    if clock is not None:
        parts = [part.strip() for part in _word(clock).split(".")]
        if len(parts) != 3 or parts[0] != "clock" or parts[2] != "value":
            raise ValueError(f"expected 'clock.NAME.value', found {clock!r}")
        clock = parts[1]
    field = IntegerField(
        size=size,
        align=alignment(parse_number(values["align"])) if "align" in values else (1 if size % 8 else 8),
        byte_order=parse_byte_order(values.get("byte_order", "native"), native),
        signed=parse_boolean(values.get("signed", "false")),
        base=_BASE_NAMES[base],
        clock=clock,
    )
    return DeclaredInteger(field, _encoded(values.get("encoding", "none")))


def _encoded(text: str) -> bool:
    if _word(text) in ("UTF8", "utf8", "UTF-8", "utf-8", "ASCII", "ascii"):
        return True
    if _word(text) in ("none", "NONE"):
        return False
    raise ValueError(f"unknown encoding {text!r}")


def parse_float(text: str, native: ByteOrder) -> FloatField:
    """Return the type that a ``floating_point { ... }`` declares in a trace of that byte order."""
    values = _attributes(text)
    digits = (parse_number(values.get("exp_dig", "0")), parse_number(values.get("mant_dig", "0")))
    if digits not in _FLOAT_SIZES:
        raise ValueError(f"no floating point format has exp_dig = {digits[0]} and mant_dig = {digits[1]}")
    return FloatField(
        size=_FLOAT_SIZES[digits],
        align=alignment(parse_number(values.get("align", "1"))),
        byte_order=parse_byte_order(values.get("byte_order", "native"), native),
    )


def parse_string(text: str) -> StringField:
    """Return the type that ``string`` or ``string { ... }`` declares."""
    _encoded(_attributes(text).get("encoding", "UTF8"))
    return StringField(encoding=Encoding.UTF_8)
