"""Ids, paths and threads over time, from events that are made by hand."""

from typing import Any

from boxtrace.trace.history import History
from boxtrace.trace.state import reconstruct
from boxtrace.trace.users import UserLevel
from boxtrace.units import NamespaceInum, Nanoseconds
from support.state_events import HOST, INNER, OUTER, Event, dumped, execute, fork, leave

INITIAL, MAPPED = NamespaceInum(7), NamespaceInum(8)


def users(pid: int, *levels: tuple[int, int, int], time: int = 0) -> list[Event]:
    """State dump of a process's ids: ``levels`` are (namespace, uid, gid), the host's first."""
    events = []
    for level in reversed(range(len(levels))):
        number, uid, gid = levels[level]
        payload = {"tid": pid, "vuid": uid, "vgid": gid, "ns_level": level, "ns_inum": number}
        events.append(Event("lttng_statedump_process_user_ns", time, payload))
    return events


def call(time: int, tid: int, name: str, ret: int = 0, **arguments: int) -> list[Event]:
    context = {"tid": tid}
    return [
        Event(f"syscall_entry_{name}", time, arguments, context),
        Event(f"syscall_exit_{name}", time + 1, {"ret": ret}, context),
    ]


def ids(levels: tuple[UserLevel, ...] | None) -> list[tuple[int | None, int | None]]:
    assert levels is not None
    return [(level.uid, level.gid) for level in levels]


def test_ids_of_a_child_are_its_parents_until_it_sets_its_own() -> None:
    state = reconstruct(
        [
            *dumped(40, (40, HOST), (1, OUTER)),
            *users(40, (INITIAL, 100_000, 100_000), (MAPPED, 0, 0)),
            fork(10, 40, OUTER, 50, OUTER, 2),
            *call(20, 50, "setgid", gid=33),
            *call(30, 50, "setresuid", ruid=33, euid=33, suid=33),
            *call(40, 50, "setuid", ret=-1, uid=0),
            *call(50, 50, "setreuid", ruid=0xFFFFFFFF, euid=1),
        ]
    )
    first, child = state.processes
    assert ids(first.users.levels.at()) == [(100_000, 100_000), (0, 0)]
    assert first.users.levels.at(Nanoseconds(-5)) == first.users.levels.at()  # so it was before the dump
    seen = [ids(child.users.levels.at(Nanoseconds(time))) for time in (15, 25, 35, 60)]
    # What the host calls the new ids nobody has told.
    assert seen == [
        [(100_000, 100_000), (0, 0)],
        [(100_000, None), (0, 33)],
        [(None, None), (33, 33)],
        [(None, None), (33, 33)],
    ]
    assert child.users.levels.at(Nanoseconds(5)) is None


def test_setuid_without_privileges_leaves_the_real_id() -> None:
    state = reconstruct([*dumped(40, (40, HOST)), *users(40, (INITIAL, 5, 5)), *call(20, 40, "setuid", uid=6)])
    assert ids(state.processes[0].users.levels.at()) == [(5, 5)]


def test_contexts_tell_what_the_host_calls_them() -> None:
    context = {"uid": 100_033, "vuid": 33, "gid": 100_033, "vgid": 33}
    state = reconstruct(
        [
            *dumped(40, (40, HOST), (1, OUTER), (1, INNER)),
            *users(40, (INITIAL, 100_000, 100_000), (MAPPED, 0, 0)),
            execute(10, 40, "nginx", context=context),
        ]
    )
    assert ids(state.processes[0].users.levels.at()) == [(100_033, 100_033), (33, 33)]


def test_a_user_namespace_that_is_entered_while_it_records() -> None:
    plain = {"user_ns": MAPPED}
    told = {"user_ns": MAPPED, "uid": 100_000, "gid": 100_000, "vuid": 0, "vgid": 0}
    child = fork(10, 40, HOST, 50, HOST)
    child.context.update(plain)
    state = reconstruct(
        [*dumped(40, (40, HOST)), *users(40, (INITIAL, 5, 5)), child, execute(20, 50, "sh", context=told)]
    )
    first, second = state.processes
    assert ids(first.users.levels.at()) == [(5, 5), (None, None)]
    assert ids(second.users.levels.at(Nanoseconds(15))) == [(5, 5), (None, None)]
    levels = second.users.levels.at()
    assert ids(levels) == [(100_000, 100_000), (0, 0)]
    assert levels is not None and [level.user_ns for level in levels] == [INITIAL, MAPPED]


def test_paths_and_names_at_a_moment() -> None:
    told: dict[str, Any] = {"pid": 40, "filename": "/usr/bin/sh"}
    state = reconstruct(
        [
            *dumped(40, (40, HOST)),
            Event("statedump_process_path", 5, told),
            fork(10, 40, HOST, 50, HOST),
            execute(20, 50, "ls"),
            leave(30, 50),
        ]
    )
    shell, child = state.processes
    assert [shell.paths.at(Nanoseconds(time)) for time in (-1, 40)] == ["/usr/bin/sh", "/usr/bin/sh"]
    assert [child.paths.at(Nanoseconds(time)) for time in (5, 15, 25)] == [None, "/usr/bin/sh", "/bin/ls"]
    assert [child.names.at(Nanoseconds(time)) for time in (15, 25, 35)] == ["child", "ls", "last"]


def test_threads_at_every_level() -> None:
    state = reconstruct(
        [
            *dumped(40, (40, HOST), (1, OUTER)),
            fork(10, 40, OUTER, 41, OUTER, 5, pid=40),
            fork(11, 40, OUTER, 42, OUTER, 6, pid=40),
            leave(20, 41),
            execute(30, 40, "sh", old=42),  # a thread that is not the first one becomes the only one
            fork(40, 40, OUTER, 41, OUTER, 7, pid=40),
        ]
    )
    (process,) = state.processes
    found = [(thread.tid, thread.vtids[1:], thread.begin, thread.end) for thread in process.all_threads]
    assert found == [(40, (0,), None, None), (41, (5,), 10, 20), (42, (6,), 11, 30), (41, (7,), 40, None)]
    assert process.threads == {40, 41}


def test_what_a_dump_tells_late_holds_for_children_that_were_forked_before_it() -> None:
    state = reconstruct(
        [
            *dumped(40, (40, HOST), (1, OUTER)),
            fork(10, 40, OUTER, 50, OUTER, 2),
            fork(11, 50, OUTER, 51, OUTER, 3),
            execute(15, 51, "ls"),
            *users(40, (INITIAL, 100_000, 100_000), (MAPPED, 0, 0), time=20),
            Event("statedump_process_path", 21, {"pid": 40, "filename": "/bin/sh"}),
        ]
    )
    _, child, grandchild = state.processes
    assert ids(child.users.levels.at()) == ids(grandchild.users.levels.at()) == [(100_000, 100_000), (0, 0)]
    assert child.paths.entries == [(10, "/bin/sh")]
    assert grandchild.paths.entries == [(11, "/bin/sh"), (15, "/bin/ls")]


def test_history_of_nothing() -> None:
    assert History[int]().at() is None
