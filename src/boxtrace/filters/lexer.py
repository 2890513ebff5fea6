"""Tokens of the filter language: LTTng's, with their places in the expression.

Written by hand: an expression is one line, and a generated parser would take longer to import than to use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from boxtrace.errors import FilterError

__all__ = ["Token", "TokenKind", "signed64", "tokens"]

_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | //[^\n]* | /\*.*?\*/ )
    | (?P<float> (?: \d+\.\d* | \.\d+ ) (?: [eE][+-]?\d+ )? [fFlL]? | \d+[eE][+-]?\d+ [fFlL]? )
    | (?P<integer> 0[xX][0-9a-fA-F]+ | 0[bB][01]+ | \d+ )
    | (?P<name> \$? [A-Za-z_]\w* )
    | (?P<string> "(?: [^"\\] | \\. )*" | '(?: [^'\\] | \\. )*' )
    | (?P<operator> << | >> | <= | >= | == | != | && | \|\| | -> | /(?!\*) | [-+!~<>&^|()*%.\[\]:=] )
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_SUFFIX = re.compile(r"(?:[uU](?:ll?|LL?)?|(?:ll?|LL?)[uU]?)?(?!\w)", re.ASCII)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))|(\*)", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {
    char: char for char in "\\'\"?*"
}


class TokenKind(Enum):
    """What a token is, and the type of its value."""

    INTEGER = "an integer"
    FLOAT = "a number"
    STRING = "a string"
    NAME = "a name"
    OPERATOR = "an operator"
    END = "the end of the expression"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``text`` is that of a name or operator; ``value`` that of a literal."""

    kind: TokenKind
    text: str
    at: int
    value: int | float | tuple[bytes, ...] = 0


def signed64(value: int) -> int:
    """Return the signed number that the low 64 bits of an integer mean."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def tokens(expression: str) -> Iterator[Token]:
    """Yield the tokens of an expression, the end last.

    :raises FilterError: for what is no token.
    """
    try:
        expression.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        message = "this character cannot be encoded"
        raise FilterError(message, expression=expression, position=error.start) from None
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise FilterError(_unknown(expression, at), expression=expression, position=at)
        text = match[0]
        end = match.end()
        match match.lastgroup:
            case "space":
                pass
            case "integer":
                end = _suffix_end(expression, at, end)
                yield Token(TokenKind.INTEGER, text, at, _integer(expression, text, at))
            case "float":
                if expression[end : end + 1].isalnum():
                    raise FilterError("a number ends in something else", expression=expression, position=end)
                yield Token(TokenKind.FLOAT, text, at, _float(expression, text, at))
            case "string":
                yield Token(TokenKind.STRING, text, at, _pieces(expression, text, at))
            case "name":
                yield Token(TokenKind.NAME, text, at)
            case _:
                yield Token(TokenKind.OPERATOR, text, at)
        at = end
    yield Token(TokenKind.END, "", len(expression))


def _unknown(expression: str, at: int) -> str:
    if expression[at] in "\"'":
        return "this string does not end"
    if expression.startswith("/*", at):
        return "this comment does not end"
    return f"{expression[at]!r} means nothing in a filter"


def _suffix_end(expression: str, at: int, end: int) -> int:
    suffix = _SUFFIX.match(expression, end)
    if suffix is None:
        digits = "a binary number" if expression[at : at + 2] in ("0b", "0B") else "an integer"
        raise FilterError(f"{expression[end]!r} cannot be part of {digits}", expression=expression, position=end)
    return suffix.end()


def _float(expression: str, text: str, at: int) -> float:
    value = float(text.rstrip("fFlL"))
    if math.isinf(value):
        raise FilterError("this number is too big", expression=expression, position=at)
    return value


def _integer(expression: str, text: str, at: int) -> int:
    octal = len(text) > 1 and text.isdigit() and text[0] == "0"
    if octal and ("8" in text or "9" in text):
        position = at + min(index for index, digit in enumerate(text) if digit in "89")
        raise FilterError("an octal number has no digit above 7", expression=expression, position=position)
    # 2**64 - 1 has 22 octal digits; int() of much longer decimals would be refused by Python, or slow.
    digits = text.lstrip("0") if octal or text.isdigit() else text[2:].lstrip("0")
    value = int(text, 8 if octal else 0) if len(digits) <= 64 else 1 << 64
    if value >> 64:
        raise FilterError("this integer has more than 64 bits", expression=expression, position=at)
    return signed64(value)


def _pieces(expression: str, literal: str, at: int) -> tuple[bytes, ...]:
    """Return what stands between the wildcards of a string literal, its escape sequences resolved."""
    pieces = [bytearray()]
    start = 1
    for match in _ESCAPE.finditer(literal, 1, len(literal) - 1):
        pieces[-1] += literal[start : match.start()].encode("utf-8", "surrogateescape")
        start = match.end()
        code, octal, char, wildcard = match.groups()
        if wildcard:
            pieces.append(bytearray())
        elif char is None:
            number = int(code, 16) if code else int(octal, 8)
            if not 0 < number < 256:
                message = "a string has no zero byte" if number == 0 else "a byte is at most \\377"
                raise FilterError(message, expression=expression, position=at + match.start())
            pieces[-1].append(number)
        elif char in _SIMPLE_ESCAPES:
            pieces[-1] += _SIMPLE_ESCAPES[char].encode()
        else:
            shown = char if char.isprintable() else repr(char)[1:-1]
            message = f"there is no escape sequence '\\{shown}'"
            raise FilterError(message, expression=expression, position=at + match.start())
    pieces[-1] += literal[start:-1].encode("utf-8", "surrogateescape")
    if any(0 in piece for piece in pieces):
        raise FilterError("a string has no zero byte", expression=expression, position=at + literal.index("\0"))
    inner = [bytes(piece) for piece in pieces[1:-1] if piece]  # "**" is "*"
    return (bytes(pieces[0]), *inner, bytes(pieces[-1])) if len(pieces) > 1 else (bytes(pieces[0]),)
