"""Every error that boxtrace raises on purpose.

One root, :class:`BoxtraceError`. A subclass also inherits the builtin exception that it is, so that callers may catch
either. ``hint`` is the next thing to try (often a command), printed below the message by the command line. Errors carry
their data (path, offset, errno) as attributes, not only in the text.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "BoxtraceError",
    "CapabilityError",
    "ContainerNotFoundError",
    "FilterError",
    "OutputError",
    "SelectionError",
    "TraceFormatError",
    "UsageError",
]


class BoxtraceError(Exception):
    """Root of all errors of this package.

    :param message: one sentence that says what went wrong.
    :param hint: what the user can do about it; None when there is nothing to advise.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(BoxtraceError, ValueError):
    """Options that contradict each other, or a value out of its range."""


class FilterError(BoxtraceError, ValueError):
    """A filter expression that means nothing, or nothing for the events that it is used on.

    The message shows the expression, or the part of it that is concerned, with a caret below the character. Of names
    that are too long to read it has the beginning.

    :param expression: the whole expression.
    :param position: index of the character that the error is about; the expression's length for its end.
    """

    _SHOWN: Final = 96
    _LONG_NAME: Final = re.compile(r"([^\s']{61})[^\s']{4,}")

    def __init__(self, message: str, *, expression: str, position: int, hint: str | None = None) -> None:
        message = self._LONG_NAME.sub(r"\1...", message)
        start = 0
        if len(expression) > self._SHOWN:
            start = max(0, min(position - self._SHOWN // 2, len(expression) - self._SHOWN))
        part = expression[start : start + self._SHOWN]
        shown = "".join(char if char.isprintable() else " " for char in part)
        super().__init__(f"filter: {message}\n  {shown}\n  {' ' * (position - start)}^", hint=hint)
        self.problem = message
        self.expression = expression
        self.position = position


class SelectionError(BoxtraceError, LookupError):
    """What should be selected (a process, a namespace) does not exist."""


class ContainerNotFoundError(SelectionError):
    """No container has this name or id.

    :param wanted: what the user asked for.
    :param near: names that look like it, best first.
    """

    def __init__(self, wanted: str, *, near: tuple[str, ...] = (), hint: str | None = None) -> None:
        text = f"no container is named {wanted!r}"
        if near:
            text += f"; did you mean {' or '.join(repr(name) for name in near)}?"
        super().__init__(text, hint=hint or "boxtrace containers")
        self.wanted = wanted
        self.near = near


class CapabilityError(BoxtraceError, PermissionError):
    """The kernel lacks, or denies, what a recording needs.

    :param missing: names of the missing capabilities or kernel features.
    """

    def __init__(self, message: str, *, missing: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class OutputError(BoxtraceError, OSError):
    """The trace cannot be written (exists already, no space, not writable).

    :param path: the file or directory concerned.
    """

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class TraceFormatError(BoxtraceError, ValueError):
    """A trace, or its metadata, is not what its format demands.

    :param path: file that holds the error.
    :param offset: where in the file, in bytes; None when it is about the whole file.
    :param event: name of the event concerned, if any.
    :param field: path of the field concerned (``payload.filename``), if any.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        event: str | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = ""
        if path is not None:
            where = path if offset is None else f"{path}, byte {offset}"
        if event is not None:
            where += f"{', ' if where else ''}event {event}"
        if field is not None:
            where += f"{', ' if where else ''}field {field}"
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.path = path
        self.offset = offset
        self.event = event
        self.field = field
