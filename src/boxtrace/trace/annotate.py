"""Columns that the events of a table do not have themselves: their container, their thread's ids at each level.

They are joined from the trace's state at the time of each event, by the contexts that the events have (``pid_ns``,
``tid``, ``pid``): a number that the kernel used again means whom it meant then. Needs polars (the extra ``tables``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from boxtrace.containers.model import Container
from boxtrace.ctf.decode import plain
from boxtrace.ctf.fields import Scope
from boxtrace.ctf.plan_compile import STREAM, TIMESTAMP, column_names
from boxtrace.errors import SelectionError, UsageError
from boxtrace.trace.decoder import EVER
from boxtrace.trace.trace import Trace
from boxtrace.units import Nanoseconds

if TYPE_CHECKING:
    from boxtrace.trace.containers import TraceContainers

__all__ = ["ADDED", "AnnotatedTable", "annotated_table", "recorded_columns"]

_CONTAINER: Final[Mapping[str, Callable[[Container], str | None]]] = {
    "container": lambda container: container.id,
    "container_id": lambda container: container.id,
    "container_name": lambda container: container.name,
    "container_image": lambda container: container.image,
    "container_runtime": lambda container: container.runtime,
}
_CONTEXTS: Final = ("pid_ns", "tid", "pid")
_ROW, _KEY, _BEGIN, _TASK, _SPACE, _IN = (f"boxtrace.{name}" for name in ("row", "key", "begin", "task", "space", "in"))

ADDED: Final = frozenset({*_CONTAINER, "vtids", "vpids", "procname"})
"""Names of the columns that can be added: who the container is, lists of the thread's and the process's ids at each pid
namespace level, the host's first, and the thread's name where its packet tells it (that of events of applications)."""


class AnnotatedTable:
    """A table with added columns; a :class:`~boxtrace.trace.table.Table` in all that can be asked of it."""

    def __init__(self, name: str, frame: Any) -> None:
        self.name = name
        self._frame = frame

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as a PyCapsule (Arrow's PyCapsule interface)."""
        return self._frame.__arrow_c_stream__(requested_schema)

    def to_polars(self) -> Any:
        """Return the table as a polars DataFrame."""
        return self._frame


def annotated_table(
    trace: Trace,
    name: str,
    columns: Sequence[str],
    begin: Nanoseconds | None = None,
    end: Nanoseconds | None = None,
) -> AnnotatedTable:
    """Return the events of one type, see :meth:`Trace.table`; the columns of :data:`ADDED` are joined.

    A column that the events themselves have is theirs, whatever its name.

    :raises UsageError: if polars is not installed.
    :raises SelectionError: if there is no such column, or nothing in the events tells whose they are.
    """
    polars = _polars()
    recorded = recorded_columns(trace, name)
    keys = {field: column for column, field in recorded.items() if field in _CONTEXTS}
    if not keys:
        raise SelectionError(
            f"the events {name!r} have no context that tells whose they are",
            hint="record them with --context pid_ns,tid",
        )
    own = [column for column in columns if column in recorded or column not in ADDED]
    needed = list(dict.fromkeys([*own, TIMESTAMP, STREAM, *keys.values()]))
    frame = trace.table(name, columns=needed, begin=begin, end=end).to_polars()
    lives = trace.containers
    numbers = {id(container): number for number, container in enumerate(lives.containers)}
    frame = frame.with_row_index(_ROW).sort(TIMESTAMP)
    frame = _join_tasks(frame, lives, numbers, keys)
    if "pid_ns" in keys:
        spaces = [(space.number, space.begin, numbers.get(id(container))) for space, container in lives.spaces()]
        schema = dict.fromkeys((_KEY, _BEGIN, _SPACE), polars.Int64)
        frame = _join_latest(frame, keys["pid_ns"], polars.DataFrame(_in_time(spaces), schema, orient="row"))
        frame = frame.with_columns(polars.coalesce(_TASK, _SPACE).alias(_TASK))
    described = {
        column: [tell(container) for container in lives.containers]
        for column, tell in _CONTAINER.items()
        if column not in own
    }
    if "procname" in columns and "procname" not in own:
        frame = _join_names(frame, trace)
    names = polars.DataFrame(described, dict.fromkeys(described, polars.String)).with_columns(
        polars.int_range(polars.len(), dtype=polars.Int64).alias(_TASK)
    )
    frame = frame.join(names, on=_TASK, how="left").sort(_ROW)
    return AnnotatedTable(name, frame.select(columns))


def recorded_columns(trace: Trace, name: str) -> dict[str, str]:
    """Return the columns that events of a name have themselves, with the fields that they show; payload fields last.

    Of a field name that the payload has, too, the context is meant.
    """
    columns: dict[str, str] = {}
    for stream in trace.streams:
        for event in stream.cls.events:
            if event.name == name:
                for column, scope, field in column_names(stream.cls, event):
                    columns[column] = "" if scope is Scope.EVENT_PAYLOAD else field
    return columns


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        hint = "pip install 'boxtrace[tables]'"
        raise UsageError("columns of containers need polars, which is not installed", hint=hint) from None
    return polars


def _join_tasks(frame: Any, lives: TraceContainers, numbers: Mapping[int, int], keys: Mapping[str, str]) -> Any:
    """Add the ids of each event's thread, and the number of its process's container.

    What the process is, its pid tells; its tid does where the events have no pid, or nothing told of that.
    """
    polars = _polars()
    ids = polars.List(polars.Int64)
    kinds = {_TASK: polars.Int64, "vtids": ids, "vpids": ids}
    told = {column: f"boxtrace.told.{column}" for column in kinds}
    schema = {_KEY: polars.Int64, _BEGIN: polars.Int64, **{told[column]: kind for column, kind in kinds.items()}}
    schema[_IN] = polars.Int64
    processes = [
        (process, numbers.get(id(lives.innermost(process))), list(process.vpids) or None)
        for process in lives.state.processes
    ]
    rows: Mapping[str, list[tuple[Any, ...]]] = {
        "pid": [
            (process.pid, process.begin, number, None, vpids, process.pid_ns or None)
            for process, number, vpids in processes
        ],
        "tid": [
            (thread.tid, thread.begin, number, list(thread.vtids) or None, vpids, process.pid_ns or None)
            for process, number, vpids in processes
            for thread in process.all_threads
        ],
    }
    added = [column for column in kinds if column not in frame.columns]
    frame = frame.with_columns(polars.lit(None, kinds[column]).alias(column) for column in added)
    for key in (key for key in rows if key in keys):
        frame = _join_latest(frame, keys[key], polars.DataFrame(_in_time(rows[key]), schema, orient="row"))
        other = polars.lit(False)
        if "pid_ns" in keys:  # a process stays in its pid namespace: one in another has got the number since
            own = polars.col(keys["pid_ns"])
            other = ((own != 0) & (own != polars.col(_IN))).fill_null(False)
        frame = frame.with_columns(
            polars.when(other).then(column).otherwise(polars.coalesce(column, told[column])).alias(column)
            for column in added
        )
        frame = frame.drop(_IN, *told.values())
    return frame


def _join_names(frame: Any, trace: Trace) -> Any:
    """Add the name that each event's packet tells, if it does."""
    polars = _polars()
    told = [
        (number, packet.head.begin, plain(packet.head.context["procname"]))
        for number, stream in enumerate(trace.streams)
        for packet in stream.packets
        if "procname" in packet.head.context and packet.head.begin is not None
    ]
    schema = {_KEY: polars.Int64, _BEGIN: polars.Int64, "procname": polars.String}
    return _join_latest(frame, STREAM, polars.DataFrame(_in_time(told), schema, orient="row"))


def _join_latest(frame: Any, column: str, others: Any) -> Any:
    """Add to each event what last began before it, of those with its number."""
    polars = _polars()
    keyed = frame.with_columns(polars.col(column).cast(polars.Int64).alias(_KEY))
    joined = keyed.join_asof(others, left_on=TIMESTAMP, right_on=_BEGIN, by=_KEY, check_sortedness=False)
    return joined.drop(_KEY, _BEGIN, strict=False)


def _in_time(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows in the order of their beginnings; what was there before the trace began before everything."""
    told = [(row[0], EVER[0] if row[1] is None else row[1], *row[2:]) for row in rows]
    return sorted(told, key=lambda row: row[1])
