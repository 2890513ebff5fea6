"""SQL on traces, by DuckDB: every type of event is a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from boxtrace.errors import UsageError
from boxtrace.trace.annotate import ADDED, recorded_columns
from boxtrace.trace.trace import Trace

__all__ = ["Bar", "QueryResult", "run_query"]

Bar: TypeAlias = AbstractContextManager[Callable[[float], None]]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Names of the columns, and the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def run_query(trace: Trace, query: str, bar: Callable[[str, float], Bar] | None = None) -> QueryResult:
    """Run a query on the tables whose names it contains.

    :param bar: makes what shows how far reading has come, of a text and a total; it is told how much more was read.
    :raises UsageError: if DuckDB is not installed, or does not accept the query.
    :raises TraceFormatError: if a table cannot be read to its end.
    """
    try:
        import duckdb
    except ImportError:
        raise UsageError("SQL needs duckdb, which is not installed", hint="pip install 'boxtrace[tables]'") from None
    text = query.lower()
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    # Nothing of the host is a query's business: only the trace.
    added = [column for column in sorted(ADDED) if column in text]
    names = [name for name in trace.event_names() if name.lower() in text]
    size = sum(stream.content() for stream in trace.streams) * len(names)
    with nullcontext(lambda done: None) if bar is None else bar("reading", size) as progress:
        for name in names:
            recorded = recorded_columns(trace, name)
            more = [column for column in added if column not in recorded]
            columns = [*recorded, *more] if more else None
            connection.register(name, trace.table(name, columns=columns, progress=progress))
    connection.execute("SET enable_external_access = false")
    try:
        found = connection.execute(query)
        columns = [column[0] for column in found.description or ()]
        return QueryResult(columns, found.fetchall())
    except duckdb.Error as error:
        raise UsageError(f"the query failed: {error}", hint="boxtrace info lists the types of events") from error
    finally:
        connection.close()
