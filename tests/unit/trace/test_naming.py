"""Whose a pid namespace is, where the kernel uses every number again."""

from dataclasses import replace

from boxtrace.containers.model import Cgroup, Container, Namespaces
from boxtrace.trace.naming import Life, Naming
from boxtrace.trace.state import reconstruct
from boxtrace.trace.told import Told
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid
from support.state_events import HOST, OUTER, Event, dumped, execute, fork, leave

SECOND = 1_000_000_000
BOOT = 1_700_000_000 * SECOND
"""When the machine started; the clocks agree."""


def at(seconds: float) -> int:
    return BOOT + int(seconds * SECOND)


def seen(name: str, pid: int, birth: float, number: int = OUTER) -> Container:
    """A container whose first process somebody saw."""
    numbers = (NamespaceInum(number if kind == "pid" else 1) for kind in Namespaces.names())
    return Container(
        "docker", name, name, "running", init_pid=Pid(pid), namespaces=Namespaces(*numbers),
        pid_ns_ancestors=(NamespaceInum(HOST),), birth=Nanoseconds(int(birth * SECOND)),
    )  # fmt: skip


def told(name: str, runtime: str = "docker") -> Container:
    return Container(runtime, name, name, "exited")


def moved(seconds: float, pid: int, path: str, root: int = 0, number: int = 7) -> Event:
    fields = {"dst_root": root, "dst_level": 1, "dst_id": number, "dst_path": path, "pid": pid, "comm": "runc"}
    return Event("cgroup_attach_task", at(seconds), fields)


def life(begin: float, pid: int, end: float, number: int = OUTER) -> list[Event]:
    return [fork(at(begin), 10, HOST, pid, number, 1), execute(at(begin + 0.001), pid, "true"), leave(at(end), pid)]


def name(events: list[Event], *containers: Container, cgroups: bool = True) -> list[Life]:
    state = reconstruct([*dumped(10, (10, HOST)), *events])
    naming = Naming(Told(containers, 0), state, clock_base=BOOT, begin=Nanoseconds(at(0.5)), cgroups=cgroups)
    return [item for item in naming.lives if item.space is not None]


def names(lives: list[Life]) -> list[tuple[str, int]]:
    """Names with the time of birth, in ms since the machine started."""
    return sorted(
        ((item.container.name, ((item.space.begin or 0) - BOOT) // 1_000_000) for item in lives if item.space),
        key=lambda entry: entry[1],
    )


def test_same_pid_and_same_namespace_number_are_told_apart_by_birth() -> None:
    events = [*life(1, 20, 2), *life(3, 20, 4), *life(5, 20, 6)]
    lives = name(events, seen("third", 20, 4.999), seen("first", 20, 0.995))
    assert names(lives) == [("first", 1000), (f"pidns-{OUTER}.2", 3000), ("third", 5000)]


def test_fork_may_be_recorded_late_but_not_in_the_next_life() -> None:
    events = [*life(1.7, 20, 1.8), *life(1.9, 20, 2)]
    assert names(name(events, seen("slow", 20, 1)))[0] == ("slow", 1700)
    assert names(name(events, seen("gone", 20, 4))) == [(f"pidns-{OUTER}", 1700), (f"pidns-{OUTER}.2", 1900)]


def test_process_from_before_the_trace_is_not_the_one_that_got_its_number() -> None:
    before = dumped(20, (20, HOST), (1, OUTER))
    events = [*before, leave(at(0.9), 20), *life(1, 20, 2)]
    lives = name(events, seen("old", 20, 0.2), seen("new", 20, 0.999))
    assert {item.container.name: item.space.begin if item.space else 0 for item in lives} == {
        "old": None,
        "new": at(1),
    }


def test_number_alone_names_nothing_that_two_had() -> None:
    # Of the namespace only a process that is not its first is known.
    events = [Event("sched_process_exec", at(1), {"tid": 30, "old_tid": 30, "filename": "sh"},
                    {"tid": 30, "pid": 30, "vpid": 9, "vtid": 9, "pid_ns": OUTER, "ppid": 1})]  # fmt: skip
    assert [item.container.name for item in name(events, seen("one", 20, 0.1))] == ["one"]
    both = name(events, seen("one", 20, 0.1), seen("two", 21, 0.2))
    assert [item.container.name for item in both] == [f"pidns-{OUTER}"]


def test_cgroup_names_what_nobody_saw() -> None:
    first, second = "a" * 64, "b" * 64
    events: list[Event] = []
    for begin, identifier in ((1, first), (2, second), (3, first)):
        pid = 19 + begin
        events += [
            fork(at(begin), 10, HOST, pid, HOST),
            moved(begin + 0.1, pid, f"/docker/{identifier}", root=4),
            fork(at(begin + 0.2), pid, HOST, 50, OUTER, 1),
            leave(at(begin + 0.3), 50),
            leave(at(begin + 0.4), pid),
        ]
    lives = name(events, told(second), told(first))
    # The third is a second life of the first: the same cgroup path, whatever its number.
    assert names(lives) == [(first, 1200), (second, 2200), (first, 3200)]


def test_cgroup_of_an_unknown_container_and_of_one_inside() -> None:
    outer = "a" * 64
    events = [
        *life(1, 20, 9),
        moved(1.05, 20, f"/docker/{outer}"),
        fork(at(2), 20, OUTER, 30, OUTER + 1, 2, 1),
        *life(3, 40, 4, OUTER + 2),
        moved(3.1, 40, "/user.slice/box"),
    ]
    lives = name(sorted(events, key=lambda event: event.timestamp or 0), told(outer))
    assert names(lives) == [(outer, 1000), (f"pidns-{OUTER + 1}", 2000), (f"pidns-{OUTER + 2}", 3000)]


def test_cgroup_below_that_of_a_container_around_names_nothing() -> None:
    # A daemon inside a container makes the cgroups of its containers below its own.
    for form in ("/docker/{}/docker/{}", "/system.slice/docker-{}.scope/docker/{}"):
        outer, inner = "a" * 64, "b" * 64
        around, path = seen(outer, 20, 0.2), form.format(outer, inner)
        events = [
            *dumped(20, (20, HOST), (1, OUTER)),
            fork(at(2), 20, OUTER, 30, OUTER + 1, 2, 1),
            moved(2.1, 30, path, root=4),
            fork(at(3), 30, OUTER + 1, 40, OUTER + 2, 3, 2, 1),
        ]
        lives = [(item.container.runtime, item.container.name) for item in name(events, around)]
        assert lives == [("docker", outer), *(("unknown", f"pidns-{OUTER + each}") for each in (1, 2))]
        shared = replace(seen(outer, 20, 0.2, HOST), pid_ns_ancestors=())
        events = [fork(at(2), 10, HOST, 30, OUTER, 1), moved(2.1, 30, path, root=4)]
        assert names(name(events, shared)) == [(f"pidns-{OUTER}", 2000)]


def test_end_decides_only_where_the_trace_has_no_cgroups() -> None:
    ended = Container("docker", "web", "web", "exited", ended=Nanoseconds(at(2.05)))
    assert [item.container.name for item in name(life(1, 20, 2), ended, cgroups=False)] == ["web"]
    assert [item.container.name for item in name(life(1, 20, 2), ended)] == [f"pidns-{OUTER}"]


def test_cgroups_are_inherited_and_shown() -> None:
    identifier = "a" * 64
    events = [
        moved(0.9, 10, f"/docker/{identifier}", number=99),
        *life(1, 20, 2),
    ]
    (item,) = name(events, told(identifier))
    assert item.container.cgroups == (Cgroup("cgroup2", f"/docker/{identifier}", CgroupId(99)),)


def test_namespace_of_which_no_event_tells_is_whose_was_seen_with_it() -> None:
    inner, twice = OUTER + 1, OUTER + 2
    nested = replace(seen("inner", 30, 0.2, inner), pid_ns_ancestors=(NamespaceInum(OUTER), NamespaceInum(HOST)))
    shared = replace(seen("host", 40, 0.2, HOST), pid_ns_ancestors=())
    others = seen("one", 50, 0.2, twice), seen("two", 51, 0.3, twice)
    found = {item.container.name: item.space for item in name([], nested, seen("outer", 20, 0.1), shared, *others)}
    assert {key: space.number for key, space in found.items() if space} == {"outer": OUTER, "inner": inner}
    assert found["outer"] is not None and found["outer"].inside == [found["inner"]]
    # Of a number that events tell of, they decide.
    assert names(name(life(1, 20, 2), seen("gone", 20, 4))) == [(f"pidns-{OUTER}", 1000)]
