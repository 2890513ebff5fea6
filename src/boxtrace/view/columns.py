"""The columns that tables of containers and processes can have, by the names that ``--columns`` takes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.model import Namespaces
from boxtrace.containers.views import View
from boxtrace.errors import UsageError
from boxtrace.units import Nanoseconds
from boxtrace.view.table import Cell

__all__ = ["CONTAINER_COLUMNS", "PID_COLUMNS", "Columns", "time_of_day"]

Row = TypeVar("Row")
_TIMES: Final = frozenset({"begin", "end"})


class Columns(Generic[Row]):
    """Columns of one kind of row: what each is called, and where its cells come from.

    :param getters: by name; the header is the name in capitals.
    :param default: the columns of a table for which nobody chose any.
    :param lives: the default of a trace's rows, which begin and end.
    """

    def __init__(
        self, getters: Mapping[str, Callable[[Row], Cell]], *, default: Sequence[str], lives: Sequence[str]
    ) -> None:
        self._getters = getters
        self._default = {False: tuple(default), True: tuple(lives)}
        self.names: tuple[str, ...] = tuple(getters)

    def choose(self, text: str | None, *, lives: bool) -> tuple[str, ...]:
        """Return the columns that a list with commas names; ``+`` before the first adds to the usual ones.

        :raises UsageError: for one that there is not.
        """
        usual = self._default[lives]
        if text is None:
            return usual
        names = tuple(name.strip() for name in text.removeprefix("+").split(","))
        for name in names:
            if name not in self._getters:
                near = difflib.get_close_matches(name, self.names, n=1)
                guess = f"; did you mean {near[0]!r}?" if near else ""
                raise UsageError(f"there is no column {name!r}{guess}", hint=f"columns are {', '.join(self.names)}")
        return (*usual, *(name for name in names if name not in usual)) if text.startswith("+") else names

    def headers(self, names: Sequence[str]) -> list[str]:
        """Return the line of headers."""
        return [name.upper() for name in names]

    def cells(self, names: Sequence[str], row: Row, *, utc: bool) -> list[Cell]:
        """Return one row's cells.

        :param utc: times of day in UTC instead of local time.
        """
        cells = []
        for name in names:
            cell = self._getters[name](row)
            cells.append(time_of_day(cell, utc) if name in _TIMES and isinstance(cell, int) else cell)
        return cells


def time_of_day(time: int, utc: bool) -> str:
    """Return a time, ns since the Unix epoch, as babeltrace2 shows it."""
    from boxtrace.view.text import TextView  # the reader's modules take their time to import

    return TextView(utc=utc).time_of_day(Nanoseconds(time))


def _namespace(kind: str) -> Callable[[ContainerRow], Cell]:
    def getter(row: ContainerRow) -> Cell:
        spaces = row.container.namespaces
        return None if spaces is None else getattr(spaces, kind) or None

    return getter


def _label(name: str) -> Callable[[ContainerRow], Cell]:
    return lambda row: row.container.labels.get(name)


def _own(member: str) -> Callable[[PidRow], Cell]:
    return lambda row: None if row.own is None else getattr(row.own, member)


def _host(member: str) -> Callable[[PidRow], Cell]:
    return lambda row: getattr(row.views[0], member) if row.views else None


def _levels(member: str) -> Callable[[PidRow], Cell]:
    """All views of one fact, the host's first."""

    def text(view: View) -> str:
        value = getattr(view, member)
        return "-" if value is None else str(value)

    return lambda row: "/".join(map(text, row.views)) or None


_CONTAINER: Final = ("runtime", "id", "name", "image", "state", "init_pid", "pid_ns", "procs", "command")
_PID: Final = ("pid", "host_pid", "nested_pids", "pid_ns", "uid", "host_uid")

CONTAINER_COLUMNS: Final = Columns[ContainerRow](
    {
        "runtime": lambda row: row.container.runtime,
        "id": lambda row: row.container.short_id,
        "full_id": lambda row: row.container.id,
        "name": lambda row: row.container.name,
        "image": lambda row: row.container.image,
        "digest": lambda row: row.container.image_digest,
        "state": lambda row: row.container.state,
        "exit_code": lambda row: row.container.exit_code,
        "init_pid": lambda row: row.container.init_pid,
        **{f"{kind}_ns": _namespace(kind) for kind in Namespaces.names()},
        "procs": lambda row: row.processes,
        "command": lambda row: row.command,
        "begin": lambda row: row.begin,
        "end": lambda row: row.end,
        "parent": lambda row: None if row.parent is None else row.parent.name,
        "pod": _label("io.kubernetes.pod.name"),
        "namespace": _label("io.kubernetes.pod.namespace"),
        "cgroup_id": lambda row: None if row.container.cgroup is None else row.container.cgroup.id,
        "cgroup": lambda row: None if row.container.cgroup is None else row.container.cgroup.path,
    },
    default=("runtime", "id", "name", "image", "state", "init_pid", "pid_ns", "procs", "command", "cgroup"),
    lives=(
        "runtime",
        "id",
        "name",
        "image",
        "state",
        "init_pid",
        "pid_ns",
        "procs",
        "command",
        "begin",
        "end",
        "cgroup",
    ),
)
"""Columns of ``boxtrace containers``."""

PID_COLUMNS: Final = Columns[PidRow](
    {
        "container": lambda row: None if row.container is None else row.container.name,
        "pid": lambda row: row.pid,
        "host_pid": lambda row: row.host_pid,
        "nested_pids": lambda row: "/".join(map(str, row.nested)) or None,
        "pids": lambda row: "/".join(map(str, row.pids)),
        "ppid": lambda row: row.ppid or None,
        "pid_ns": lambda row: row.pid_ns or None,
        "uid": _own("uid"),
        "host_uid": _host("uid"),
        "uids": _levels("uid"),
        "gid": _own("gid"),
        "host_gid": _host("gid"),
        "gids": _levels("gid"),
        "begin": lambda row: row.begin,
        "end": lambda row: row.end,
        "path": _own("path"),
        "host_path": _host("path"),
        "name": lambda row: row.name,
    },
    default=(*_PID, "name"),
    lives=(*_PID, "begin", "end", "name"),
)
"""Columns of ``boxtrace pids`` and ``boxtrace ps``."""
