"""Names and ids that other programs choose: checked and made printable before anything else sees them.

A container's name, image and labels come from whoever started it, and end on terminals, in file names and in JSON.
"""

from __future__ import annotations

import re

__all__ = ["MAX_TEXT", "clean", "is_safe_id", "shorten_id"]

MAX_TEXT = 1024
"""Longest name, image or label value that is kept, in characters."""

_HASH = re.compile(r"[0-9a-f]{64}")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+:@-]{0,254}")


def clean(value: object) -> str:
    """Return *value* as text that is safe to print: control characters escaped, at most :data:`MAX_TEXT` long.

    Anything but a string (a runtime's answer may hold whatever JSON holds) becomes an empty string.
    """
    if not isinstance(value, str):
        return ""
    if value.isprintable():
        return value[:MAX_TEXT]
    text = "".join(char if char.isprintable() else _escape(char) for char in value[:MAX_TEXT])
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT]


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def is_safe_id(value: object) -> bool:
    """Tell whether *value* may be used as a container id: letters, digits, ``_.+:@-``; no longer than a file name."""
    return isinstance(value, str) and _SAFE_ID.fullmatch(value) is not None


def shorten_id(text: str) -> str:
    """Return twelve characters of a hexadecimal id, as runtimes print it, and anything else as it is."""
    return text[:12] if _HASH.fullmatch(text) else text
