"""What the programs of one recording are told to select and to count apart, while they run."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from boxtrace import _native
from boxtrace.errors import CapabilityError, SelectionError
from boxtrace.kernel.capabilities import traces_functions
from boxtrace.kernel.image import NEWBORN_PROGRAMS, OWN_CHANGE_PROGRAMS, ProgramImage
from boxtrace.kernel.selection import Accounting, Selection
from boxtrace.kernel.trackers import KINDS, TrackerId
from boxtrace.units import CgroupId, NamespaceInum

__all__ = ["Selector", "iterate"]

# The kernel runs an iterator program again for the object at which its buffer (8 pages) overflowed.
_ITERATOR_BYTES: Final = 4096
_KEYS: Final = {"pid_namespaces": "<I", "cgroups": "<Q"}
"""Maps of what is known of containers, and how their keys are packed."""
_MarkedAt = tuple[str, bytes]


def iterate(bpf: _native.BpfObject, program: str) -> bytes:
    """Run an iterator program over every object; return what it wrote."""
    link = bpf.attach(program)
    try:
        descriptor = link.iterate()
        try:
            return b"".join(iter(lambda: os.read(descriptor, _ITERATOR_BYTES), b""))
        finally:
            os.close(descriptor)
    finally:
        link.close()


def _excluded_last(ids: Iterable[TrackerId]) -> list[TrackerId]:
    """Order ids so that of one which is included and excluded the latter remains."""
    return sorted(ids, key=lambda each: each.excluded)


class Selector:
    """Writes the maps that the programs look tasks up in. Its methods may be called by any thread.

    A change counts from the next event on: each ends with a new generation, which voids what the CPUs remember.
    """

    def __init__(self, image: ProgramImage, attach: Callable[[str], None]) -> None:
        """Begin with the whole host.

        :param attach: attaches a program of the image for as long as the recording lasts, once.
        """
        self._image = image
        self._attach = attach
        self._lock = threading.RLock()
        self._generation = 1
        self._control: dict[str, int] = {}
        self._selection = Selection()
        self._selected: dict[str, dict[int, bool | None]] = {name: {} for name in _KEYS}
        self._newborns: dict[str, set[int]] = {name: set() for name in _KEYS}
        self._accounted: dict[str, dict[int, int]] = {name: {} for name in _KEYS}
        self._members: dict[_MarkedAt, bytes] = {}
        self._own_changes_seen: bool | None = None
        self._kinds = dict(image.bpf.enum_values("bt_tracker"))
        self._own_trackers = dict(image.bpf.enum_values("bt_trackers"))["BT_OWN_TRACKERS"]
        self._verdicts = dict(image.bpf.enum_values("bt_verdict"))

    def set_control(self, **values: int) -> None:
        """Change members of ``bt_control``; cached verdicts are void from then on."""
        with self._lock:
            self._control.update(values)
            # The programs count in the upper half. What they counted may be written over here: the number is a new one
            # all the same, since the lower half has never been so high.
            self._generation += 1
            control = self._image.pack_struct("bt_control", generation=self._generation, **self._control)
            descriptor = self._image.map_fd(".data.control")
            whole = _native.map_lookup(descriptor, bytes(4), self._image.bpf.map_value_size(".data.control"))
            assert whole is not None
            _native.map_update(descriptor, bytes(4), control + whole[len(control) :])

    def select(self, selection: Selection) -> None:
        """Select this from now on, and nothing else.

        :raises SelectionError: for a process that does not exist; what was selected before remains.
        :raises CapabilityError: if there is no room for so many ids, or the kernel refuses a program.
        """
        with self._lock:
            before = self._selection
            for each in selection.of_kind("pid") - before.of_kind("pid"):
                if not Path("/proc", str(each.value)).exists():
                    raise SelectionError(f"there is no process {each.value!r}")
            if selection.of_kind("procname"):
                self._attach("task_renamed")
            if selection.cgroups or selection.newborn:
                self._attach("cgroup_attach_task")
            if selection.newborn:
                for program in NEWBORN_PROGRAMS:
                    self._attach(program)
                iterate(self._image.bpf, "mark_tasks")  # it also finds out this process's root directory
            self._mark_processes(before.of_kind("pid"), selection.of_kind("pid"))
            self._watch_cgroups(before.watched, selection.watched)
            stale = self._write_ids(before.ids, selection.ids)
            self._selection = selection
            self._selected = {name: {} for name in _KEYS}
            for name, newborns in self._newborns.items() if selection.any_newborn else ():
                self._selected[name] |= dict.fromkeys(newborns, True)
            self._selected["pid_namespaces"] |= {int(each): said for each, said in selection.pid_namespaces.items()}
            self._selected["cgroups"] |= {int(each): said for each, said in selection.cgroups.items()}
            self._write_members()
            asked = self._asked(selection)
            self.set_control(
                trackers=asked,
                own_changes_seen=bool(asked & self._own_trackers) and self._see_own_changes(),
                including=self._including(selection),
                newborn=selection.newborn,
            )
            for key in stale:
                _native.map_delete(self._image.map_fd("trackers"), key)
            if stale:
                self.set_control()

    def _see_own_changes(self) -> bool:
        """Attach what sees a task change its users and namespaces; False where the kernel refuses.

        Calls are looked at for whether they do so, there.
        """
        if self._own_changes_seen is None:
            self._own_changes_seen = "sys_enter" in self._image.event_programs and traces_functions()
            try:
                for program in OWN_CHANGE_PROGRAMS if self._own_changes_seen else ():
                    self._attach(program)
            except CapabilityError:
                self._own_changes_seen = False
        return self._own_changes_seen

    def account(self, accounting: Accounting, *, more: bool = False) -> None:
        """Count the events of these namespaces and cgroups apart from now on.

        :param more: beside those that are counted apart already, else in their place.
        """
        with self._lock:
            if accounting.cgroups:
                self._attach("cgroup_attach_task")
            for name, numbers in (("pid_namespaces", accounting.pid_namespaces), ("cgroups", accounting.cgroups)):
                added = {int(number): account for number, account in numbers.items()}
                self._accounted[name] = {**self._accounted[name], **added} if more else added
            self._write_members()
            self.set_control()

    def forget_pid_namespace(self, inum: NamespaceInum) -> None:
        """Take it that a pid namespace has ended: the programs have done so when another got its number."""
        with self._lock:
            self._selected["pid_namespaces"].pop(inum, None)
            self._accounted["pid_namespaces"].pop(inum, None)
            self._newborns["pid_namespaces"].discard(inum)
            self._members.pop(("pid_namespaces", struct.pack("<I", inum)), None)

    def verdict(self, inum: NamespaceInum) -> bool | None:
        """Tell what is said of a pid namespace, None if nothing is."""
        with self._lock:
            return self._selected["pid_namespaces"].get(inum)

    def decide(
        self, inum: NamespaceInum, cgroup: CgroupId | None, tag: int, *, included: bool | None, account: int
    ) -> bool:
        """Let a candidate be recorded, or not; return False if its pid namespace is another's by now, its cgroup gone.

        :param cgroup: by which it is known, if not by its pid namespace.
        :param tag: the candidate's.
        :param included: None if nothing is said of it: then what is around it decides.
        """
        name, number = ("pid_namespaces", int(inum)) if cgroup is None else ("cgroups", int(cgroup))
        key, offsets = struct.pack(_KEYS[name], number), self._image.struct_offsets("bt_member")
        with self._lock:
            table = self._image.map_fd(name)
            before = _native.map_lookup(table, key, self._image.struct_size("bt_member"))
            if before is None or struct.unpack_from("<I", before, offsets["tag"])[0] != tag:
                return False
            init = struct.unpack_from("<I", before, offsets["init"])[0]
            value = self._member(included, account, init)
            self._update(table, key, value)
            self._members[name, key] = value
            self._say(name, number, included)
            if account:
                self._accounted[name][number] = account
            self.set_control()
            return True

    def take(self, inum: NamespaceInum, cgroup: CgroupId | None, *, included: bool) -> None:
        """Say the same of a newborn that programs which do not see births have not told of as a candidate."""
        name, number = ("pid_namespaces", int(inum)) if cgroup is None else ("cgroups", int(cgroup))
        key, value = struct.pack(_KEYS[name], number), self._member(included, 0)
        with self._lock:
            self._update(self._image.map_fd(name), key, value)  # what was said of another with its number is void
            self._members[name, key] = value
            self._say(name, number, included)
            self.set_control()

    def _say(self, name: str, number: int, included: bool | None) -> None:
        """Keep what is said of a newborn."""
        self._selected[name][number] = included
        if included:
            self._newborns[name].add(number)
        else:
            self._newborns[name].discard(number)

    def mark_command(self, pid: int) -> None:
        """Record this process and its descendants whatever is selected."""
        with self._lock:
            self._mark({self._key("BT_TRACK_COMMAND", pid): self._verdicts["BT_INCLUDED"]})
            self.set_control()

    def _asked(self, selection: Selection) -> int:
        words = {each.kind for each in selection.ids}
        asked = sum(1 << self._kinds[KINDS[word].enumerator] for word in words)
        asked |= selection.containers << self._kinds["BT_TRACK_CONTAINER"]
        return asked | selection.command << self._kinds["BT_TRACK_COMMAND"]

    def _including(self, selection: Selection) -> int:
        words = {each.kind for each in selection.ids if not each.excluded}
        including = sum(1 << self._kinds[KINDS[word].enumerator] for word in words)
        return including | selection.including << self._kinds["BT_TRACK_CONTAINER"]

    def _key(self, enumerator: str, value: int | bytes) -> bytes:
        raw = value if isinstance(value, bytes) else struct.pack("<Q", value)
        return self._image.pack_struct("bt_track_key", kind=self._kinds[enumerator], value=raw)

    def _verdict(self, each: TrackerId) -> int:
        verdict = self._verdicts["BT_EXCLUDED" if each.excluded else "BT_INCLUDED"]
        return verdict | self._verdicts["BT_ONLY_ITSELF"] * each.only_itself

    def _write_ids(self, before: Iterable[TrackerId], after: Iterable[TrackerId]) -> set[bytes]:
        """Write what is new; return the keys of what has to go."""
        old, new = self._entries(before), self._entries(after)
        table = self._image.map_fd("trackers")
        for key, verdict in new.items():
            if old.get(key) != verdict:
                self._update(table, key, struct.pack("<I", verdict))
        return old.keys() - new.keys()

    def _entries(self, ids: Iterable[TrackerId]) -> dict[bytes, int]:
        return {
            self._key(KINDS[each.kind].enumerator, each.value): self._verdict(each)
            for each in _excluded_last(ids)
            if each.kind != "pid"
        }

    def _mark_processes(self, before: frozenset[TrackerId], after: frozenset[TrackerId]) -> None:
        marks = {each.value: 0 for each in before} | {each.value: self._verdict(each) for each in _excluded_last(after)}
        known = {each.value: self._verdict(each) for each in _excluded_last(before)}
        self._mark(
            {
                self._key("BT_TRACK_PID", value): verdict
                for value, verdict in marks.items()
                if known.get(value) != verdict
            }
        )

    def _mark(self, entries: Mapping[bytes, int]) -> None:
        """Set the marks of processes, all in one pass over the tasks."""
        if not entries:
            return
        table = self._image.map_fd("trackers")
        try:
            for key, verdict in entries.items():
                self._update(table, key, struct.pack("<I", verdict))
            iterate(self._image.bpf, "mark_tasks")
        finally:
            for key in entries:
                _native.map_delete(table, key)

    def _watch_cgroups(self, before: frozenset[tuple[int, CgroupId]], after: frozenset[tuple[int, CgroupId]]) -> None:
        table = self._image.map_fd("watched_cgroups")
        for hierarchy, number in before ^ after:
            key = self._image.pack_struct("bt_cgroup_key", hierarchy=hierarchy, id=number)
            if (hierarchy, number) in after:
                self._update(table, key, struct.pack("<I", 1))
            else:
                _native.map_delete(table, key)

    def _write_members(self) -> None:
        """Write what the programs know of pid namespaces and cgroups, as far as it has changed."""
        members: dict[_MarkedAt, bytes] = {}
        for name, form in _KEYS.items():
            said, accounts = self._selected[name], self._accounted[name]
            for number in {*said, *accounts}:
                members[name, struct.pack(form, number)] = self._member(said.get(number), accounts.get(number, 0))
        for (name, key), value in members.items():
            if self._members.get((name, key)) != value:
                self._update(self._image.map_fd(name), key, self._keep_newborn(name, key, value))
        for name, key in self._members.keys() - members.keys():
            _native.map_delete(self._image.map_fd(name), key)
        self._members = members

    def _keep_newborn(self, name: str, key: bytes, value: bytes) -> bytes:
        """Return the value for a pid namespace or cgroup; a candidate remains one until it is decided about."""
        offsets, undecided = self._image.struct_offsets("bt_member"), self._verdicts["BT_UNDECIDED"]
        before = _native.map_lookup(self._image.map_fd(name), key, len(value))
        if before is None or struct.unpack_from("<I", value, offsets["container"])[0] != undecided:
            return value
        life, account = offsets["life"], offsets["account"]
        if not any(before[life : life + 4]) and not any(before[offsets["init"] : offsets["init"] + 4]):
            return value
        return before[:account] + value[account : account + 4] + before[account + 4 :]

    def _member(self, included: bool | None, account: int, init: int = 0) -> bytes:
        word = "BT_UNDECIDED" if included is None else "BT_INCLUDED" if included else "BT_EXCLUDED"
        return self._image.pack_struct("bt_member", container=self._verdicts[word], account=account, init=init)

    @staticmethod
    def _update(table: int, key: bytes, value: bytes) -> None:
        try:
            _native.map_update(table, key, value)
        except OSError as error:
            raise CapabilityError(f"there is no room for so many ids: {error.strerror}") from error
