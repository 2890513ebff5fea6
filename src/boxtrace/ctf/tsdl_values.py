"""Values of a TSDL block's attributes: numbers, and texts with their escapes."""

from __future__ import annotations

import re
from typing import TypeAlias
from uuid import UUID

__all__ = ["Value", "integer_of", "natural_of", "text_of", "unquoted", "uuid_of"]

Value: TypeAlias = int | str
_ESCAPE = re.compile(rb"\\(?:[0-7]{1,3}|x[0-9A-Fa-f]+|.)", re.DOTALL)
_ESCAPED = {
    f"\\{name}".encode(): value.encode() for name, value in zip("abfnrtv\\'\"?", "\a\b\f\n\r\t\v\\'\"?", strict=True)
}
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def unquoted(text: str) -> str:
    """Return what a text in quotes means. Raises ValueError for an escape that C does not know."""
    body = text[2:-1] if text.startswith("L") else text[1:-1]
    if "\\" not in body:
        return body

    def replaced(match: re.Match[bytes]) -> bytes:
        escape = match.group()
        code = escape[1:].lstrip(b"x")
        if escape[1:2] in b"x01234567" and code:
            return bytes([int(code, 16 if escape[1:2] == b"x" else 8) & 0xFF])
        if escape not in _ESCAPED:
            raise ValueError(f"unknown escape {escape.decode('utf-8', 'replace')!r}")
        return _ESCAPED[escape]

    # Escapes are bytes, several of which may be one character.
    return _ESCAPE.sub(replaced, body.encode("utf-8")).decode("utf-8", "replace")


def integer_of(values: dict[str, Value], name: str, default: int) -> int:
    """Return the value of an attribute. Raises ValueError if it is no number."""
    value = values.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"{name} is a number, not {value!r}")
    return value


def natural_of(values: dict[str, Value], name: str) -> int:
    """Return the value of an attribute that is there. Raises ValueError if it is no number, or negative."""
    value = integer_of(values, name, 0)
    if value < 0:
        raise ValueError(f"{name} {value} is negative")
    return value


def text_of(values: dict[str, Value], name: str) -> str | None:
    """Return the value of an attribute, None if it is not there. Raises ValueError if it is a number."""
    value = values.get(name)
    if isinstance(value, int):
        raise ValueError(f"{name} is a text, not {value}")
    return value


def uuid_of(values: dict[str, Value]) -> UUID | None:
    """Return the UUID of a block that has one. Raises ValueError if it is none."""
    text = text_of(values, "uuid")
    if text is not None and _UUID.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a UUID")
    return None if text is None else UUID(text)
