"""Containers and process ids as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TextIO, TypeVar

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.model import Container
from boxtrace.containers.semantic import container_attributes, process_attributes, prometheus
from boxtrace.containers.store import to_record
from boxtrace.view.columns import CONTAINER_COLUMNS, PID_COLUMNS
from boxtrace.view.table import Cell, write_table

__all__ = [
    "container_document",
    "container_table",
    "write_containers",
    "write_containers_json",
    "write_pids",
    "write_pids_json",
    "write_processes",
]

_Row = TypeVar("_Row")


def write_containers(
    rows: Sequence[ContainerRow],
    stream: TextIO,
    *,
    tree: bool = False,
    lives: bool = False,
    utc: bool = False,
    columns: str | None = None,
) -> None:
    """Write a table of containers.

    :param tree: put each below the one around it, and indent its name.
    :param lives: show when each began and ended, as traces tell it; ``-`` is before the trace, and after it.
    :param utc: show times of day in UTC instead of local time.
    :param columns: names of columns, with commas; ``+`` before the first adds to the usual ones.
    :raises UsageError: for a column that there is not.
    """
    write_table(*container_table(rows, tree=tree, lives=lives, utc=utc, columns=columns), stream)


def container_table(
    rows: Sequence[ContainerRow], *, tree: bool, lives: bool, utc: bool, columns: str | None
) -> tuple[list[str], list[list[Cell]]]:
    """Return headers and cells of :func:`write_containers`."""
    names = CONTAINER_COLUMNS.choose(columns, lives=lives)
    parent: Callable[[ContainerRow], int | None] = lambda row: None if row.parent is None else id(row.parent)  # noqa: E731
    ordered = _in_tree(rows, lambda row: id(row.container), parent) if tree else [(0, row) for row in rows]
    table = []
    for depth, row in ordered:
        cells = CONTAINER_COLUMNS.cells(names, row, utc=utc)
        table.append(
            [f"{'  ' * depth}{cell}" if name == "name" else cell for name, cell in zip(names, cells, strict=True)]
        )
    return CONTAINER_COLUMNS.headers(names), table


def _in_tree(
    rows: Sequence[_Row], key: Callable[[_Row], Hashable], parent: Callable[[_Row], Hashable]
) -> list[tuple[int, _Row]]:
    """Return the rows with their depths, each behind the one that is its parent, else in their order."""
    children: dict[Hashable, list[_Row]] = {}
    known = {key(row) for row in rows}
    for row in rows:
        around = parent(row)
        children.setdefault(around if around in known and around != key(row) else None, []).append(row)
    ordered: list[tuple[int, _Row]] = []
    left = [(0, row) for row in reversed(children.get(None, []))]
    while left:
        depth, row = left.pop()
        ordered.append((depth, row))
        left.extend((depth + 1, child) for child in reversed(children.pop(key(row), [])))
    return ordered


def container_document(row: ContainerRow) -> dict[str, Any]:
    """Return a container as a JSON object.

    What is known of it, and the same under OpenTelemetry's names in ``attributes`` and Prometheus' in ``prometheus``.
    """
    return {
        **to_record(row.container),
        "pid_ns": row.container.pid_ns,
        "parent": None if row.parent is None else row.parent.id,
        "processes": row.processes,
        "command": row.command,
        "begin": row.begin,
        "end": row.end,
        "attributes": container_attributes(row.container),
        "prometheus": prometheus(row),
    }


def write_containers_json(rows: Sequence[ContainerRow], stream: TextIO) -> None:
    """Write a JSON array of containers, see :func:`container_document`."""
    _write_json([container_document(row) for row in rows], stream)


def write_pids(
    rows: Sequence[PidRow],
    stream: TextIO,
    *,
    lives: bool = False,
    utc: bool = False,
    threads: bool = False,
    columns: str | None = None,
) -> None:
    """Write a table of processes: pid in the container, on the host, and in pid namespaces inside the container.

    *lives*, *utc* and *columns* as for :func:`write_containers`.

    :param threads: a row for each thread, with its tid in the container and on the host.
    """
    names = PID_COLUMNS.choose(columns, lives=lives)
    table = []
    for row in rows:
        cells = PID_COLUMNS.cells(names, row, utc=utc)
        for tids in row.threads if threads else [()]:
            own: Cell = tids[row.level] if len(tids) > row.level else None
            table.append([*([own, tids[0]] if threads else []), *cells])
    write_table([*(["TID", "HOST_TID"] if threads else []), *PID_COLUMNS.headers(names)], table, stream)


def write_pids_json(rows: Sequence[PidRow], stream: TextIO) -> None:
    """Write a JSON array of processes.

    ``pids`` has the pid at every level of pid namespaces, the host's first; ``views`` how the host and each container
    around the process see it; ``attributes`` the facts under OpenTelemetry's names.
    """
    document = [
        {
            "pid": row.pid,
            "host_pid": row.host_pid,
            "pids": row.pids,
            "ppid": row.ppid,
            "level": row.level,
            "pid_ns": row.pid_ns,
            "name": row.name,
            "container": None if row.container is None else row.container.id,
            "views": [
                {
                    "container": None if view.container is None else view.container.id,
                    "container_name": None if view.container is None else view.container.name,
                    "pid": view.pid,
                    "uid": view.uid,
                    "gid": view.gid,
                    "path": view.path,
                }
                for view in row.views
            ],
            "threads": row.threads,
            "begin": row.begin,
            "end": row.end,
            "attributes": process_attributes(row),
        }
        for row in rows
    ]
    _write_json(document, stream)


def write_processes(
    rows: Sequence[PidRow],
    containers: Sequence[ContainerRow],
    stream: TextIO,
    *,
    lives: bool = False,
    utc: bool = False,
    columns: str | None = None,
) -> None:
    """Write the processes of each container as a tree, containers inside others behind them.

    :param rows: processes, each with its innermost container; those of the host come first.
    """
    usual = "+ppid" if columns is None else columns
    names = [name for name in PID_COLUMNS.choose(usual, lives=lives) if name not in ("container", "name")]
    groups: list[Container | None] = [None]
    groups += [row.container for _, row in _in_tree(containers, lambda row: row.container.id, _parent_id)]
    members: dict[object, list[PidRow]] = {}
    for row in rows:
        members.setdefault(row.container and row.container.life, []).append(row)
    table = []
    for container in groups:
        own = members.get(container and container.life, [])
        for depth, row in _in_tree(own, lambda row: (row.host_pid, row.begin), _parent_process(own)):
            name = "-" if container is None else container.name
            table.append([name, *PID_COLUMNS.cells(names, row, utc=utc), "  " * depth + row.name])
    write_table(["CONTAINER", *PID_COLUMNS.headers(names), "NAME"], table, stream)


def _parent_id(row: ContainerRow) -> str | None:
    return None if row.parent is None else row.parent.id


def _parent_process(rows: Sequence[PidRow]) -> Callable[[PidRow], Hashable]:
    """Return what finds the parent of a process: of several that had the number, the last that began before it."""
    begins: dict[int, list[PidRow]] = {}
    for row in rows:
        begins.setdefault(row.host_pid, []).append(row)

    def parent(row: PidRow) -> Hashable:
        before = [other for other in begins.get(row.ppid, []) if (other.begin or 0) <= (row.begin or 0)]
        return (before[-1].host_pid, before[-1].begin) if before else None

    return parent


def _write_json(document: object, stream: TextIO) -> None:
    json.dump(document, stream, indent=1)
    stream.write("\n")
