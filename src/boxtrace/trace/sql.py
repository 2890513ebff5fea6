"""SQL on traces, by DuckDB: every type of event is a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boxtrace.errors import UsageError
from boxtrace.trace.annotate import ADDED, recorded_columns
from boxtrace.trace.trace import Trace

__all__ = ["QueryResult", "run_query"]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Names of the columns, and the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def run_query(trace: Trace, query: str) -> QueryResult:
    """Run a query on the tables whose names it contains.

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
    for name in trace.event_names():
        if name.lower() in text:
            recorded = recorded_columns(trace, name)
            more = [column for column in added if column not in recorded]
            connection.register(name, trace.table(name, columns=[*recorded, *more] if more else None))
    connection.execute("SET enable_external_access = false")
    try:
        found = connection.execute(query)
        columns = [column[0] for column in found.description or ()]
        return QueryResult(columns, found.fetchall())
    except duckdb.Error as error:
        raise UsageError(f"the query failed: {error}", hint="boxtrace info lists the types of events") from error
    finally:
        connection.close()
