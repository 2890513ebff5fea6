"""A filter: an expression that tells which events are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.packet import RecordView
from boxtrace.errors import FilterError
from boxtrace.filters.binding import Binding, EventScopes, UnknownFieldError, bind
from boxtrace.filters.evaluate import compile_test
from boxtrace.filters.parser import parse

__all__ = ["Filter"]


class Filter:
    """An expression of LTTng's filter language, parsed.

    :param expression: such as ``$ctx.pid_ns == 4026532572 && (fd > 2 || filename == "/etc/*")``.
    :raises FilterError: if it is none.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.root = parse(expression)
        self._tests: dict[tuple[int, int], tuple[Callable[[RecordView], bool] | None, Any]] = {}

    def bind(self, scopes: EventScopes) -> Binding:
        """Return what the expression means for a class of events.

        :raises FilterError: if it means nothing for them.
        """
        return bind(self.expression, self.root, scopes)

    def check(self, streams: Iterable[StreamClass]) -> None:
        """Check that the expression means something for one class of events at least.

        :raises FilterError: otherwise; what came nearest to a meaning is told.
        """
        nearest: FilterError | None = None
        for stream in streams:
            for event in stream.events:
                try:
                    self.bind(EventScopes.of(stream, event))
                except FilterError as error:
                    if nearest is None or _nearness(error) > _nearness(nearest):
                        nearest = error
                else:
                    return
        if isinstance(nearest, UnknownFieldError):
            message = f"no event of the trace has all of its fields: {nearest.problem}"
            raise FilterError(message, expression=self.expression, position=nearest.position)
        if nearest is not None:
            raise nearest

    def matches(self, record: RecordView) -> bool:
        """Tell whether an event is wanted. One whose class the expression means nothing for is not."""
        stream, event = record.packet.stream, record.event
        key = (id(stream), id(event))
        known = self._tests.get(key)
        if known is None:
            # The classes are kept along, so that their ids stay theirs.
            known = self._tests[key] = (self._test(stream, event), (stream, event))
        test = known[0]
        return test is not None and test(record)

    def _test(self, stream: StreamClass, event: EventClass) -> Callable[[RecordView], bool] | None:
        try:
            return compile_test(self.bind(EventScopes.of(stream, event)))
        except FilterError:
            return None


def _nearness(error: FilterError) -> tuple[bool, int]:
    return not isinstance(error, UnknownFieldError), error.position
