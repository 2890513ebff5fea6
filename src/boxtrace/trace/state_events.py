"""The events of a trace that :mod:`boxtrace.trace.state` follows, in the order of time.

They are few among many: the native decoder picks them out as tables where polars is installed (the extra ``tables``),
which takes a tenth of the time of decoding every event in Python.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boxtrace.ctf.fields import Scope
from boxtrace.ctf.plan_compile import column_names
from boxtrace.errors import TraceFormatError
from boxtrace.trace.state import STATE_EVENTS, StateEvent
from boxtrace.trace.table import Table
from boxtrace.trace.trace import Trace
from boxtrace.units import Nanoseconds

__all__ = ["StateEvents"]

# Of events of the same nanosecond: a dumped task before its namespaces, a fork before what the child does.
_ORDER = ("lttng_statedump_process_state", "lttng_statedump_process_pid_ns", "sched_process_fork", "sched_process_exec")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    timestamp: Nanoseconds | None
    payload: Mapping[str, Any]
    context: Mapping[str, Any]

    @property
    def order(self) -> tuple[int, int, int]:
        rank = _ORDER.index(self.name) if self.name in _ORDER else len(_ORDER)
        return (self.timestamp or 0, rank, -self.payload.get("ns_level", 0))


class StateEvents:
    """Iterates over these events of a trace, as far as it can be read.

    :ivar failure: why it could not be read further, once the iteration is over; None when all was read.
    """

    def __init__(self, trace: Trace, *, native: bool | None = None) -> None:
        """Choose how to read: natively, in Python, or (None) as what is installed allows."""
        self._trace = trace
        self._native = importlib.util.find_spec("polars") is not None if native is None else native
        self.failure: TraceFormatError | None = None

    def __iter__(self) -> Iterator[StateEvent]:
        if self._native:
            yield from sorted(self._rows(), key=lambda row: row.order)
            return
        try:
            yield from self._trace.events(where=lambda event: event.name in STATE_EVENTS)
        except TraceFormatError as error:
            self.failure = error

    def _rows(self) -> Iterator[_Row]:
        names = [name for name in self._trace.event_names() if name in STATE_EVENTS]
        columns = {name: self._columns(name) for name in names}
        try:
            for tables in self._trace.batches(names):
                for name, table in tables.items():
                    yield from _read(name, table, columns[name])
        except TraceFormatError as error:
            self.failure = error

    def _columns(self, name: str) -> list[tuple[str, Scope | None, str]]:
        for stream in self._trace.streams:
            for event in stream.cls.events:
                if event.name == name:
                    return column_names(stream.cls, event)
        return []


def _read(name: str, table: Table, columns: list[tuple[str, Scope | None, str]]) -> Iterator[_Row]:
    payload = [(column, field) for column, scope, field in columns if scope is Scope.EVENT_PAYLOAD]
    contexts = (Scope.EVENT_COMMON_CONTEXT, Scope.EVENT_SPECIFIC_CONTEXT)
    context = [(column, field) for column, scope, field in columns if scope in contexts]
    for row in table.to_polars().iter_rows(named=True):
        yield _Row(
            name,
            row["timestamp"],
            {field: row.get(column) for column, field in payload},
            {field: row.get(column) for column, field in context},
        )
