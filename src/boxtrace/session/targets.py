"""From what the user asks for (names of containers, numbers, processes) to what the kernel can test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from boxtrace.containers.cgroups import Hierarchies, hierarchy_numbers, parse_cgroups, runtime_hierarchy
from boxtrace.containers.match import match
from boxtrace.containers.members import owns_pid_ns
from boxtrace.containers.model import CGROUP2, Cgroup, Container
from boxtrace.containers.rules import ContainerRules
from boxtrace.errors import SelectionError, UsageError
from boxtrace.kernel.btf import kernel_btf
from boxtrace.kernel.image import CGROUP_V2
from boxtrace.kernel.probes import FunctionProbe, InContainer, Probe, UserFunctionProbe, UserMarkerProbe
from boxtrace.kernel.selection import Accounting, Newborn, Selection
from boxtrace.kernel.trackers import TrackerId
from boxtrace.units import CgroupId, NamespaceInum, Pid

__all__ = [
    "Targets",
    "account_containers",
    "check_process",
    "find_cgroup",
    "find_pid_namespaces",
    "make_probes",
    "newborn_policy",
    "select_targets",
]

_MAX_ACCOUNTS = 1023


@dataclass(frozen=True, slots=True)
class Targets:
    """A selection, and the cgroup hierarchy in which its cgroups (and those of the accounts) are numbered.

    :ivar containers: those that are included, of those that were running.
    :ivar rules: by which they were chosen.
    """

    selection: Selection
    hierarchy: str
    hierarchy_index: int
    containers: tuple[Container, ...]
    rules: ContainerRules = field(default_factory=ContainerRules)

    def cover(self, container: Container) -> bool:
        """Whether the recording may be about this container: selected, inside one that is, or around a process."""
        selection, verdict = self.selection, self.rules.verdict(container)
        if container in self.containers or verdict is not None:
            return verdict is not False
        processes = _wanted(selection, "pid")
        spaces = _wanted(selection, "pid-ns")
        if not (selection.including or processes or spaces or selection.command):
            return True
        if container.shares_host_pid_ns:
            return False
        around = {number for number, included in selection.pid_namespaces.items() if included}
        around |= spaces
        if container.pid_ns in around or not around.isdisjoint(container.pid_ns_ancestors):
            return True
        return container.pid_ns in {_pid_namespace(Pid(pid)) for pid in processes}


def _wanted(selection: Selection, word: str) -> set[NamespaceInum]:
    return {NamespaceInum(int(each.value)) for each in selection.of_kind(word) if not each.excluded}


def _pid_namespace(pid: Pid) -> NamespaceInum:
    """Return the pid namespace of a process, 0 for one that has gone."""
    try:
        return NamespaceInum(Path(f"/proc/{pid}/ns/pid").stat().st_ino)
    except OSError:
        return NamespaceInum(0)


def _hierarchy_index(hierarchy: str) -> int | None:
    """Return the number by which the BPF programs find a hierarchy, None for one without a controller."""
    if hierarchy == CGROUP2:
        return CGROUP_V2
    btf = kernel_btf()
    for controller in hierarchy.split(","):
        index = btf.enumerator("cgroup_subsys_id", f"{controller}_cgrp_id")
        if index is not None:
            return index
    return None


def _choose_hierarchy(
    running: Sequence[Container], paths: Sequence[Cgroup], *, newborns: bool = False
) -> tuple[str, int]:
    """Choose the hierarchy in which most containers have a cgroup other than the root: v2 if it is as good as any.

    :param paths: cgroups that must be in it.
    :param newborns: whether containers that start later must be recognised in it: then it is the one that runtimes use,
        if not most of those that can only be recognised by a cgroup are in another.
    """
    if paths:
        index = _hierarchy_index(paths[0].hierarchy)
        if index is None:
            raise SelectionError(
                f"the hierarchy {paths[0].hierarchy} has no controller: its cgroups cannot be selected"
            )
        return paths[0].hierarchy, index
    favourite = runtime_hierarchy() if newborns else CGROUP2
    votes = {CGROUP2: 0, favourite: 0}
    for container in running:
        for cgroup in () if newborns and owns_pid_ns(container, running) else container.cgroups:
            if cgroup.path != "/" and cgroup.id is not None:
                votes[cgroup.hierarchy] = votes.get(cgroup.hierarchy, 0) + 1
    for hierarchy in sorted(votes, key=lambda name: (-votes[name], name != favourite, name)):
        index = _hierarchy_index(hierarchy)
        if index is not None:
            return hierarchy, index
    return CGROUP2, CGROUP_V2


def find_cgroup(text: str, hierarchy: str | None = None, proc: Path = Path("/proc")) -> Cgroup:
    """Find a cgroup by its path from its hierarchy's root, or by its directory.

    :param hierarchy: in which it must be; None for any, version 2 first.
    :raises SelectionError: if there is none.
    """
    hierarchies = Hierarchies(proc)
    own = parse_cgroups((proc / "self/cgroup").read_text(encoding="utf-8", errors="replace"))
    known = sorted((cgroup.hierarchy for cgroup in own), key=lambda name: (name != CGROUP2, "=" in name, name))
    directory = Path(text)
    for name in known if hierarchy is None else [hierarchy]:
        root = hierarchies.directory(Cgroup(name, "/"))
        inside = root is not None and directory.is_relative_to(root) and directory != root
        path = "/" + str(directory.relative_to(root)) if root is not None and inside else "/" + text.strip("/")
        found = hierarchies.with_id(Cgroup(name, path))
        if found.id is not None:
            return found
    where = "" if hierarchy is None else f" in the hierarchy of this recording, {hierarchy}"
    raise SelectionError(f"there is no cgroup {text!r}{where}", hint="systemd-cgls, or cat /proc/PID/cgroup")


def _cgroup_id(container: Container, hierarchy: str) -> CgroupId | None:
    return next(
        (item.id for item in container.cgroups if item.hierarchy == hierarchy and item.path != "/"),
        None,
    )


def _watched(containers: Sequence[Container]) -> frozenset[tuple[int, CgroupId]]:
    """Return the cgroups of containers in all hierarchies: what happens to them is of interest, too."""
    numbers = hierarchy_numbers() if containers else {}
    return frozenset(
        (numbers[cgroup.hierarchy], cgroup.id)
        for container in containers
        for cgroup in container.cgroups
        if cgroup.path != "/" and cgroup.id is not None and cgroup.hierarchy in numbers
    )


def select_targets(
    rules: ContainerRules,
    running: Sequence[Container],
    *,
    cgroups: Sequence[str] = (),
    ids: Iterable[TrackerId] = (),
    follow: bool = False,
    command: bool = False,
    hierarchy: str | None = None,
    newborns: bool = True,
) -> Targets:
    """Choose how each container is recognised: by its pid namespace where that is its own, else by its cgroup.

    :param rules: which containers are wanted.
    :param running: all running containers.
    :param cgroups: paths that are included, or excluded with ``!`` before them.
    :param ids: of all other kinds.
    :param follow: whether what the chosen processes fork is recorded as well.
    :param command: whether a command will be recorded, too.
    :param hierarchy: of the recording, if it runs already.
    :param newborns: whether its programs have code for containers that start later.
    :raises SelectionError: for a container that shares its pid namespace and has no cgroup of its own, or a cgroup that
        does not exist.
    """
    paths: list[tuple[Cgroup, bool]] = []
    for text in cgroups:
        within = hierarchy if not paths else paths[0][0].hierarchy
        paths.append((find_cgroup(text.removeprefix("!"), within), not text.startswith("!")))
    if hierarchy is None:
        expected = newborn_policy(rules) is not Newborn.NOTHING
        hierarchy, index = _choose_hierarchy(running, [cgroup for cgroup, _ in paths], newborns=expected)
    else:
        found = _hierarchy_index(hierarchy)
        index = CGROUP_V2 if found is None else found
    namespaces: dict[NamespaceInum, bool] = {}
    numbers = {cgroup.id: wanted for cgroup, wanted in paths if cgroup.id is not None}
    for container in running:
        verdict = rules.verdict(container)
        if verdict is None:
            continue
        if container.pid_ns is not None and owns_pid_ns(container, running):
            namespaces[container.pid_ns] = verdict
            continue
        number = _cgroup_id(container, hierarchy)
        if number is None:
            raise SelectionError(
                f"container {container.name!r} shares its pid namespace and has no cgroup of its own in "
                f"{hierarchy}: its processes cannot be told from others",
                hint="select its processes with --pid PID --follow",
            )
        numbers[number] = verdict
    chosen = tuple(container for container in running if rules.verdict(container) is True)
    selection = Selection(
        containers=bool(rules or paths),
        including=rules.including or any(wanted for _, wanted in paths),
        pid_namespaces=namespaces,
        cgroups=numbers,
        ids=frozenset(ids),
        follow=follow,
        command=command,
        newborn=newborn_policy(rules) if newborns else Newborn.NOTHING,
        any_newborn=rules.new,
        watched=_watched(chosen),
    )
    return Targets(selection, hierarchy, index, chosen, rules)


def newborn_policy(rules: ContainerRules) -> Newborn:
    """Return what the kernel does with containers that start later."""
    if rules.host_only:
        return Newborn.NOT_WANTED
    return Newborn.CANDIDATE if rules.may_match else Newborn.NOTHING


def find_pid_namespaces(numbers: Iterable[int], proc: Path = Path("/proc")) -> dict[int, int | None]:
    """Find the first process of each of these pid namespaces; None for one whose first process cannot be seen.

    :raises SelectionError: for a number that no process has.
    """
    found: dict[int, int | None] = {}
    wanted = set(numbers)
    for process in proc.glob("[0-9]*") if wanted else ():
        with suppress(OSError):
            number = (process / "ns" / "pid").stat().st_ino
            if number in wanted:
                status = (process / "status").read_text(encoding="utf-8", errors="replace")
                first = re.search(r"^NSpid:.*\b1$", status, re.MULTILINE) is not None
                found[number] = int(process.name) if first else found.get(number)
    if missing := wanted - set(found):
        raise SelectionError(
            f"no process is in pid namespace {min(missing)}", hint="lsns -t pid, or boxtrace containers"
        )
    return found


def check_process(pid: int, proc: Path = Path("/proc")) -> None:
    """Check that a process exists and that its number is that of the process, not of one of its threads.

    :raises SelectionError: otherwise.
    """
    try:
        status = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SelectionError(f"there is no process {pid}") from error
    group = re.search(r"^Tgid:\s*(\d+)$", status, re.MULTILINE)
    if group is not None and int(group[1]) != pid:
        raise SelectionError(
            f"{pid} is a thread of process {group[1]}", hint=f"--pid {group[1]} records all its threads"
        )


def make_probes(
    functions: Iterable[str], user_functions: Iterable[str], user_markers: Iterable[str], known: Sequence[Container]
) -> list[Probe]:
    """Make probes of what the user wrote.

    :param known: the containers among which those of paths are looked for.
    :raises UsageError: for a form that is wrong.
    :raises SelectionError: for a container that does not exist or does not run.
    """
    probes: list[Probe] = [FunctionProbe(name) for name in functions]
    for text in user_functions:
        container, path, symbol = _split_probe(text, 3, "CONTAINER:PATH:SYMBOL")
        probes.append(UserFunctionProbe(path, symbol, _place(container, known)))
    for text in user_markers:
        container, path, provider, name = _split_probe(text, 4, "CONTAINER:PATH:PROVIDER:NAME")
        probes.append(UserMarkerProbe(path, provider, name, _place(container, known)))
    return probes


def _split_probe(text: str, parts: int, form: str) -> list[str]:
    words = text.split(":")
    if len(words) != parts or not all(words[1:]) or not words[1].startswith("/"):
        raise UsageError(f"{text!r} is not {form}", hint="an empty CONTAINER means the host: :/usr/bin/program:...")
    return words


def _place(name: str, known: Sequence[Container]) -> InContainer:
    if not name:
        return InContainer()
    container = match(name, known)
    if container.init_pid is None:
        raise SelectionError(f"container {container.name!r} is not running ({container.state})")
    own = container.pid_ns is not None and not container.shares_host_pid_ns
    return InContainer(
        container.init_pid, container.pid_ns or 0 if own else 0, len(container.pid_ns_ancestors) if own else 0
    )


def account_containers(
    running: Sequence[Container], hierarchy: str, *, beside: Sequence[Container] | None = None, first: int = 1
) -> tuple[Accounting, tuple[Container, ...]]:
    """Give each running container an account: number ``first + i`` for container ``i`` of what is returned.

    :param beside: all that run, if others do.
    """
    namespaces: dict[NamespaceInum, int] = {}
    cgroups: dict[CgroupId, int] = {}
    accounted: list[Container] = []
    for container in running[: max(0, _MAX_ACCOUNTS - first + 1)]:
        cgroup = _cgroup_id(container, hierarchy)
        if container.pid_ns is not None and owns_pid_ns(container, running if beside is None else beside):
            namespaces[container.pid_ns] = len(accounted) + first
        elif cgroup is not None:
            cgroups[cgroup] = len(accounted) + first
        else:
            continue
        accounted.append(container)
    return Accounting(namespaces, cgroups), tuple(accounted)
