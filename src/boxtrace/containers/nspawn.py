"""systemd-nspawn, by its process beside each container, and by what systemd-machined registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.text import is_safe_id
from boxtrace.units import Pid

__all__ = ["Nspawn", "machine_name"]

_REGISTERED = Path("/run/systemd/machines")
_COMM = "systemd-nspawn"


def machine_name(arguments: Sequence[str]) -> str | None:
    """Return the machine's name from the options of systemd-nspawn(1); None when they do not tell."""
    named: str | None = None
    directory: str | None = None
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--" or not argument.startswith("-"):
            break
        option, equals, value = argument.partition("=")
        if option in ("--machine", "-M"):
            named = value if equals else next(rest, "")
        elif argument.startswith("-M"):
            named = argument[2:]
        elif option in ("--directory", "-D", "--image", "-i"):
            directory = value if equals else next(rest, "")
    name = named or (PurePosixPath(directory).name if directory else None)
    return name if is_safe_id(name) else None


class Nspawn:
    """The systemd-nspawn containers of this host."""

    name = "systemd-nspawn"

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        registered = _registered()
        found = []
        for monitor in processes.named(_COMM):
            init = _init(processes, monitor)
            if init is None:
                continue
            name = registered.get(init) or machine_name(processes.arguments(monitor.pid))
            if name is not None:
                found.append(RuntimeContainer(name, name, "running", init))
        if not found:
            raise RuntimeAbsentError("systemd-nspawn: no container runs")
        return found

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether it may keep this process, see :class:`~boxtrace.containers.runtime.Beside`."""
        return task.name == _COMM

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that was just born, see :class:`~boxtrace.containers.runtime.Beside`."""
        name = machine_name(processes.arguments(monitor.pid))
        return None if name is None else RuntimeContainer(name, name, "running", init)


def _init(processes: ProcessTable, monitor: Task) -> Pid | None:
    """Return the container's first process: the child that is in another pid namespace than the monitor."""
    for child in processes.children(monitor.pid):
        try:
            own, its = ((processes.proc / str(pid) / "ns/pid").readlink() for pid in (monitor.pid, child.pid))
        except OSError:
            continue
        if own != its:
            return child.pid
    return None


def _registered() -> dict[int, str]:
    """Return the names that systemd-machined knows, by the first process."""
    found: dict[int, str] = {}
    try:
        files = [path for path in _REGISTERED.iterdir() if is_safe_id(path.name)]
    except OSError:
        return found
    for path in files:
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        settings = dict(line.split("=", 1) for line in lines if "=" in line)
        if settings.get("LEADER", "").isdecimal():
            found[int(settings["LEADER"])] = path.name
    return found
