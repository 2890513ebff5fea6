from boxtrace.trace.state import TraceState, reconstruct
from support.state_events import HOST, INNER, OUTER, Event, born, died, dumped, execute, first_exec, fork, leave


def spaces(state: TraceState) -> dict[int, tuple[int, ...]]:
    return {space.number: space.ancestors for space in state.pid_namespaces}


def test_state_dump_places_processes_at_all_levels() -> None:
    # The nested process comes first: its namespace's parents are known from it alone.
    state = reconstruct(dumped(50, (50, HOST), (7, OUTER), (1, INNER)) + dumped(40, (40, HOST), (1, OUTER)))
    assert spaces(state) == {HOST: (), OUTER: (HOST,), INNER: (OUTER, HOST)}
    assert state.host is not None
    (outer,) = state.host.inside
    (inner,) = outer.inside
    assert outer.init is not None and outer.init.pid == 40
    assert [process.vpids for process in outer.members()] == [(40, 1), (50, 7, 1)]
    assert inner.around is outer and outer.around is state.host


def test_threads_are_no_processes_and_hold_their_process_alive() -> None:
    state = reconstruct(
        [
            *dumped(40, (40, HOST)),
            *dumped(40, (40, HOST), tid=41),
            fork(1, 40, HOST, 42, HOST, pid=40),
            leave(2, 40),
            leave(3, 41),
        ]
    )
    (process,) = state.processes
    assert (process.threads, process.end) == ({42}, None)
    state.feed(leave(4, 42))
    assert process.end == 4


def test_fork_into_a_new_namespace_and_on_within_it() -> None:
    state = reconstruct(
        [
            *dumped(10, (10, HOST)),
            fork(5, 10, HOST, 20, OUTER, 1),
            fork(6, 20, OUTER, 21, OUTER, 2),
            fork(7, 21, OUTER, 22, INNER, 3, 1),
            execute(8, 22, "sleep"),
            leave(9, 22),
        ]
    )
    assert spaces(state) == {HOST: (), OUTER: (HOST,), INNER: (OUTER, HOST)}
    last = state.processes[-1]
    assert (last.vpids, last.pid_namespaces) == ((22, 3, 1), (HOST, OUTER, INNER))
    assert (last.ppid, last.begin, last.end) == (21, 7, 9)
    assert (state.pid_namespaces[2].begin, state.pid_namespaces[2].end) == (7, 9)


def test_fork_after_setns_skips_a_level_that_nobody_told_of() -> None:
    state = reconstruct([*dumped(10, (10, HOST)), fork(1, 10, HOST, 20, INNER, 5, 2)])
    assert state.processes[-1].pid_namespaces == (HOST, 0, INNER)
    assert spaces(state)[INNER] == (0, HOST)


def test_fork_by_an_unknown_parent_uses_what_is_known_of_its_namespace() -> None:
    state = reconstruct([*dumped(40, (40, HOST), (1, OUTER)), fork(1, 41, OUTER, 42, INNER, 3, 1)])
    assert state.processes[-1].pid_namespaces == (HOST, OUTER, INNER)


def test_a_second_process_one_is_another_namespace_of_the_same_number() -> None:
    state = reconstruct(
        [
            *dumped(10, (10, HOST)),
            fork(1, 10, HOST, 20, OUTER, 1),
            leave(2, 20),
            fork(3, 10, HOST, 30, OUTER, 1),
            fork(4, 30, OUTER, 31, OUTER, 2),
        ]
    )
    first, second = [space for space in state.pid_namespaces if space.number == OUTER]
    assert ([item.pid for item in first.processes], [item.pid for item in second.processes]) == ([20], [30, 31])
    assert (first.begin, first.end, second.begin, second.end) == (1, 2, 3, None)


def test_a_reused_pid_is_another_process() -> None:
    state = reconstruct(
        [*dumped(10, (10, HOST)), fork(1, 10, HOST, 20, HOST), leave(2, 20), fork(3, 10, HOST, 20, OUTER, 1)]
    )
    assert [(item.begin, item.end, item.pid_ns) for item in state.processes[1:]] == [(1, 2, HOST), (3, None, OUTER)]


def test_exec_by_a_thread_takes_the_main_threads_number() -> None:
    state = reconstruct(
        [
            *dumped(10, (10, HOST)),
            fork(1, 10, HOST, 11, HOST, pid=10),
            leave(2, 10),
            execute(3, 10, "other", old=11),
        ]
    )
    (process,) = state.processes
    assert (process.name, process.threads, process.end) == ("other", {10}, None)
    state.feed(leave(4, 10))
    assert process.end == 4


def test_process_without_dump_or_fork_is_known_from_contexts() -> None:
    context = {
        "pid": 42,
        "tid": 42,
        "vpid": 3,
        "vtid": 3,
        "ppid": 40,
        "pid_ns": OUTER,
        "procname": "sh",
        "net_ns": 9,
        "user_ns": 0,
    }
    state = reconstruct([*dumped(40, (40, HOST), (1, OUTER)), execute(1, 42, "sh", context=context)])
    process = state.processes[-1]
    assert (process.vpids, process.pid_namespaces, process.ppid) == ((42, 3), (HOST, OUTER), 40)
    assert process.namespaces == {"pid": OUTER, "net": 9}
    assert reconstruct([leave(1, 42, context)]).processes[0].pid_namespaces == (0, OUTER)


def test_namespaces_are_those_of_the_dump_the_innermost_user_namespace() -> None:
    def namespace(kind: str, number: int, **more: int) -> Event:
        return Event(f"lttng_statedump_process_{kind}_ns", 0, {"tid": 40, "ns_inum": number, **more})

    events = [
        *dumped(40, (40, HOST), (1, OUTER)),
        namespace("user", 77, ns_level=1, vuid=0, vgid=0),
        namespace("user", 70, ns_level=0, vuid=0, vgid=0),
        namespace("net", 88),
    ]
    assert reconstruct(events).processes[0].namespaces == {"pid": OUTER, "user": 77, "net": 88}


def test_released_task_and_unrelated_events_are_ignored() -> None:
    state = reconstruct([*dumped(40, (0, 0)), Event("sched_switch", 1)])
    assert state.pid_namespaces == []


def test_births_alone_tell_of_a_namespace_from_its_first_process_to_its_end() -> None:
    parent = {"pid": 10, "pid_ns": HOST, "procname": "crun", "net_ns": 5}
    inside = {"pid": 20, "pid_ns": OUTER, "procname": "sh"}
    state = reconstruct(
        [
            *dumped(10, (10, HOST)),
            born(1, 20, OUTER, 1, parent),
            first_exec(2, 20, OUTER, 1, "sh", net_ns=6),
            born(3, 30, INNER, 1, inside),
            died(4, 30, INNER, code=3),
            died(5, 20, OUTER, signal=9),
        ]
    )
    assert spaces(state) == {HOST: (), OUTER: (HOST,), INNER: (OUTER, HOST)}
    outer, inner = state.processes[1:]
    assert (outer.vpids, outer.ppid, outer.name, outer.paths.at()) == ((20, 1), 10, "sh", "/bin/sh")
    assert (outer.begin, outer.end, outer.exit_code, outer.namespaces["net"]) == (1, 5, 137, 6)
    assert (inner.vpids, inner.ppid, inner.begin, inner.end, inner.exit_code) == ((30, 0, 1), 20, 3, 4, 3)


def test_a_birth_after_its_fork_is_of_the_same_process() -> None:
    context = {"pid": 10, "pid_ns": HOST}
    state = reconstruct(
        [
            *dumped(10, (10, HOST)),
            fork(1, 10, HOST, 20, OUTER, 1),
            born(2, 20, OUTER, 1, context),
            died(3, 20, OUTER),
            born(4, 20, OUTER, 1, context),  # its fork was lost
        ]
    )
    first, second = [space for space in state.pid_namespaces if space.number == OUTER]
    assert (first.begin, first.end, second.begin, second.end) == (1, 3, 4, None)


def test_a_birth_takes_the_number_from_who_had_it_before() -> None:
    context = {"pid": 10, "pid_ns": HOST}
    state = reconstruct([*dumped(20, (20, HOST)), born(1, 20, OUTER, 1, context), first_exec(2, 20, OUTER, 1, "sh")])
    assert [(process.name, process.pid_ns) for process in state.processes] == [("p20", HOST), ("sh", OUTER)]
    # Who is not the first of a namespace is told of by forks and exits only: its end would never be known.
    state = reconstruct([*dumped(20, (20, HOST)), born(1, 20, OUTER, 7, context), first_exec(2, 20, OUTER, 7, "sh")])
    assert [(process.name, process.pid_ns) for process in state.processes] == [("p20", HOST)]
