"""The text of ``strace -f -ttt -v -X raw`` as data: which call, of which thread, with which arguments and result."""

import ast
import errno
import re
from dataclasses import dataclass

__all__ = ["Call", "arguments", "parse"]

_LINE = re.compile(r"(?P<tid>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_RESULT = re.compile(r"\)\s+= (?P<result>0x[0-9a-f]+|-?\d+|\?)(?P<why>.*)$")


@dataclass(slots=True)
class Call:
    """One system call; ``result`` is None if it never returned. Errors are negative, as the kernel gives them."""

    tid: int
    name: str
    arguments: str
    result: int | None


def parse(text: str) -> list[Call]:
    """Return the calls in the order in which they were entered."""
    calls: list[Call] = []
    unfinished: dict[int, Call] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        tid, rest = int(match["tid"]), match["rest"]
        if rest.startswith(("+++", "---")):
            continue
        # A thread that was killed before strace read which call it was about to enter: the call did not happen.
        if rest.startswith(("???", "<... ???")):
            continue
        resumed = _RESUMED.match(rest)
        if resumed:
            call = unfinished.pop(tid)
            call.arguments += resumed["rest"]
        else:
            name, _, arguments = rest.partition("(")
            call = Call(tid, name, arguments, None)
            calls.append(call)
        if call.arguments.endswith("<unfinished ...>"):
            call.arguments = call.arguments.removesuffix("<unfinished ...>")
            unfinished[tid] = call
            continue
        result = _RESULT.search(call.arguments)
        if result is not None:
            call.result = _number(result["result"], result["why"])
            call.arguments = call.arguments[: result.start()]
    return calls


def _number(result: str, why: str) -> int | None:
    if result == "?":
        return None
    name = why.split()[0] if why.split() else ""
    return -getattr(errno, name) if result == "-1" and hasattr(errno, name) else _integer(result)


def _integer(text: str) -> int:
    return int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text, 0)


def arguments(text: str) -> list[int | bytes | None]:
    """Return the arguments of a call: integers and strings; None for what is neither, or was cut."""
    return [_value(part.strip()) for part in _split(text)]


def _split(text: str) -> list[str]:
    parts, depth, quoted, start, position = [], 0, False, 0, 0
    while position < len(text):
        character = text[position]
        if quoted:
            position += character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    return [*parts, text[start:]] if text.strip() else []


def _value(text: str) -> int | bytes | None:
    if text == "NULL":
        return 0
    if re.fullmatch(r"-?\d+|0x[0-9a-f]+", text):
        return _integer(text)
    if re.fullmatch(r'"(?:[^"\\]|\\.)*"', text):
        value: bytes = ast.literal_eval("b" + text)
        return value
    return None
