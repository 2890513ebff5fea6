"""Spans: pieces of work with a beginning and an end, nested within each other, in threads and in asyncio tasks."""

from __future__ import annotations

import contextvars
import functools
import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from boxtrace_client.event import Event
from boxtrace_client.fields import STRING, TASK, U64

__all__ = ["span"]

_BEGIN = Event("python:span_begin", name=STRING, span=U64, parent=U64, task=TASK)
_END = Event("python:span_end", name=STRING, span=U64, error=STRING, task=TASK)
_numbers = itertools.count(1)
_current: contextvars.ContextVar[int] = contextvars.ContextVar("boxtrace_span", default=0)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class span:  # reads as a verb where it is used
    """A context manager and decorator that records ``python:span_begin`` and ``python:span_end``.

    Both tell the name and a number of the span, unique within the process; the beginning tells the span around it (0 if
    there is none), the end the type of the exception that ended it. A decorated coroutine function is a span from its
    first step to its last. One object may be used again, but not within itself: call :class:`span` anew.
    """

    __slots__ = ("_number", "_token", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._number = 0

    def __enter__(self) -> span:
        if _BEGIN.enabled:
            self._number = next(_numbers)
            _BEGIN.record(self.name, self._number, _current.get())
            self._token = _current.set(self._number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._number:
            _current.reset(self._token)
            _END.record(self.name, self._number, "" if kind is None else kind.__name__)
            self._number = 0

    def __call__(self, function: _Function) -> _Function:
        """Make every call of a function a span."""
        name = self.name
        import inspect

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with span(name):
                    return await function(*args, **kwargs)

            return run_async  # type: ignore[return-value]

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with span(name):
                return function(*args, **kwargs)

        return run  # type: ignore[return-value]
