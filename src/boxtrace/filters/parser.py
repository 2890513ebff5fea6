"""Parser of the filter language: an expression's text in, its syntax tree out.

Precedence is LTTng's, where bit operations bind tighter than comparisons. Limits on length and nesting turn hostile
input into errors: nothing that walks a tree recurses deeper than :data:`MAX_DEPTH`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from boxtrace.errors import FilterError
from boxtrace.filters.lexer import Token, TokenKind, tokens
from boxtrace.filters.syntax import Binary, Field, Float, Integer, Logical, Node, Root, Text, Unary

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "parse"]

MAX_LENGTH: Final = 65536
"""Characters of an expression."""
MAX_DEPTH: Final = 32
"""Levels of nesting; ``a && b && c ...`` is one level however many terms it has, ``a & b & c`` is two."""

_PRECEDENCE: Final = {
    operator: level
    for level, operators in enumerate(
        (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("|",), ("^",), ("&",), ("<<", ">>"))
    )
    for operator in operators
}
_ARITHMETIC: Final = frozenset("+-*/%")
_INSTEAD: Final = {"=": "compare with '=='", "->": "a member is written a.b", ":": None}


def parse(expression: str) -> Node:
    """Return the syntax tree of an expression.

    :raises FilterError: if it is none, or exceeds a limit.
    """
    if len(expression) > MAX_LENGTH:
        message = f"the expression has {len(expression)} characters, more than {MAX_LENGTH}"
        raise FilterError(message, expression=expression, position=MAX_LENGTH)
    return _Parser(expression).whole()


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = tokens(expression)
        self._token = next(self._tokens)
        self._nesting = 0

    def whole(self) -> Node:
        node = self._binary(0)
        if self._token.kind is not TokenKind.END:
            raise self._unexpected("an operator")
        return node

    def _binary(self, lowest: int) -> Node:
        """Parse operands joined by operators of at least this precedence."""
        left = self._unary()
        while (level := self._level()) >= lowest:
            operator = self._advance()
            right = self._binary(level + 1)
            if operator.text in ("&&", "||"):
                terms = [left, right]
                while self._is(operator.text):
                    self._advance()
                    terms.append(self._binary(level + 1))
                left = Logical(operator.text, tuple(terms), operator.at, self._deeper(operator, *terms))
            else:
                left = Binary(operator.text, left, right, operator.at, self._deeper(operator, left, right))
        return left

    def _level(self) -> int:
        token = self._token
        if token.kind is not TokenKind.OPERATOR:
            return -1
        if token.text in _ARITHMETIC:
            raise self._error(f"filters do not calculate: '{token.text}' between two operands is not supported", token)
        return _PRECEDENCE.get(token.text, -1)

    def _unary(self) -> Node:
        token = self._token
        if token.kind is TokenKind.OPERATOR and token.text in ("-", "+", "!", "~"):
            self._advance()
            operand = self._nested(token, self._unary)
            return Unary(token.text, operand, token.at, self._deeper(token, operand))
        if self._is("("):
            self._advance()
            node = self._nested(token, lambda: self._binary(0))
            self._expect(")")
            return node
        return self._primary()

    def _nested(self, token: Token, parse_inner: Callable[[], Node]) -> Node:
        self._nesting += 1
        self._check_depth(token, self._nesting)
        node = parse_inner()
        self._nesting -= 1
        return node

    def _deeper(self, token: Token, *below: Node) -> int:
        depth = 1 + max(node.depth for node in below)
        self._check_depth(token, depth)
        return depth

    def _check_depth(self, token: Token, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(f"the expression is nested more than {MAX_DEPTH} levels deep", token)

    def _primary(self) -> Node:
        token = self._token
        value = token.value
        if token.kind is TokenKind.NAME:
            return self._field()
        if isinstance(value, tuple):
            self._advance()
            return Text(value, token.at)
        if token.kind is TokenKind.FLOAT:
            self._advance()
            return Float(value, token.at)
        if token.kind is TokenKind.INTEGER:
            self._advance()
            assert isinstance(value, int)
            return Integer(value, token.at)
        raise self._unexpected("a field, a number, a string, or '('")

    def _field(self) -> Field:
        token = self._advance()
        path: list[str | int] = []
        places: list[int] = []
        root = Root.PAYLOAD
        if token.text == "$app":
            root = Root.APPLICATION
            self._expect(".")
            places.append(self._token.at)
            provider = self._name("the provider of an application context")
            self._expect(":")
            path.append(f"{provider}:{self._name('the name of an application context')}")
        elif token.text.startswith("$"):
            if token.text != "$ctx":
                raise self._error(f"{token.text} means nothing: contexts are $ctx.NAME or $app.PROVIDER:NAME", token)
            root = Root.CONTEXT
            self._expect(".")
            places.append(self._token.at)
            path.append(self._name("the name of a context"))
        else:
            path.append(token.text)
            places.append(token.at)
        while self._is(".") or self._is("["):
            if self._advance().text == ".":
                places.append(self._token.at)
                path.append(self._name("the name of a member"))
            else:
                places.append(self._token.at)
                path.append(self._index())
                self._expect("]")
        return Field(root, tuple(path), token.at, tuple(places))

    def _name(self, what: str) -> str:
        if self._token.kind is not TokenKind.NAME or self._token.text.startswith("$"):
            raise self._unexpected(what)
        return self._advance().text

    def _index(self) -> int:
        token = self._token
        if token.kind is not TokenKind.INTEGER:
            raise self._unexpected("a constant index (0 or more)")
        self._advance()
        assert isinstance(token.value, int)
        if token.value < 0:
            raise self._error("this index is too big", token)
        return token.value

    def _is(self, operator: str) -> bool:
        return self._token.kind is TokenKind.OPERATOR and self._token.text == operator

    def _expect(self, operator: str) -> None:
        if not self._is(operator):
            raise self._unexpected(f"'{operator}'")
        self._advance()

    def _advance(self) -> Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _unexpected(self, wanted: str) -> FilterError:
        token = self._token
        what = f"'{token.text}'" if token.text and token.kind is not TokenKind.STRING else token.kind.value
        instead = _INSTEAD.get(token.text)
        return self._error(f"{instead or f'{wanted} is expected here'}, not {what}", token)

    def _error(self, message: str, token: Token) -> FilterError:
        return FilterError(message, expression=self._expression, position=token.at)
