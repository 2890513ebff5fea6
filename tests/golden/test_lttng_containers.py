"""Containers of the LTTng trace in tests/data: two made with unshare, one nested in the second."""

import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from boxtrace.containers import ContainerStore
from boxtrace.containers.model import Container, Namespaces
from boxtrace.errors import ContainerNotFoundError
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers
from boxtrace.trace.sql import run_query
from boxtrace.trace.state import reconstruct
from boxtrace.trace.state_events import StateEvents
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

TRACE = Path(__file__).parents[1] / "data/lttng-kernel-trace"
HOST, FIRST, SECOND, NESTED = 4026531836, 4026532148, 4026532205, 4026532258


@cache
def containers() -> TraceContainers:
    return TraceContainers(open_trace(TRACE))


def test_both_containers_and_the_nested_one() -> None:
    rows = {row.container.pid_ns: row for row in containers().rows()}
    assert set(rows) == {FIRST, SECOND, NESTED}
    first, second, nested = rows[FIRST], rows[SECOND], rows[NESTED]
    assert [(row.command, row.processes) for row in (first, second, nested)] == [
        ("redis-server", 1),
        ("sh", 10),
        ("sleep", 1),
    ]
    assert nested.parent is second.container and first.parent is second.parent is None
    assert nested.container.pid_ns_ancestors == (SECOND, HOST)
    assert (first.begin, first.end, first.container.state) == (None, None, "running")
    assert (second.begin, second.end) == (1795433791262968485, 1795433794826091115)
    assert (nested.begin, nested.end) == (1795433793719176605, 1795433794751440765)
    # Its own user namespace, and the network of each container, as the events' contexts tell them.
    assert first.container.namespaces is not None and second.container.namespaces is not None
    assert (first.container.namespaces.user, second.container.namespaces.user) == (4026531837, 4026532201)
    assert (first.container.namespaces.net, second.container.namespaces.net) == (4026532150, 4026532207)
    assert second.container.namespaces.mnt == 0  # this LTTng could not record it


def test_both_ways_of_reading_tell_the_same() -> None:
    native, python = (reconstruct(StateEvents(open_trace(TRACE), native=way)) for way in (True, False))
    assert native.processes == python.processes
    assert [space.number for space in native.pid_namespaces] == [space.number for space in python.pid_namespaces]


def test_pids_of_container_and_host() -> None:
    assert [(row.pid, row.host_pid, row.nested, row.name) for row in containers().pids(f"pidns-{SECOND}")] == [
        (1, 184, (), "sh"),
        (2, 185, (), "hostname"),
        (3, 186, (), "ip"),
        (4, 187, (), "redis-server"),
        (5, 188, (), "sleep"),
        (10, 193, (), "redis-cli"),
        (11, 194, (), "redis-cli"),
        (12, 195, (), "unshare"),
        (13, 196, (1,), "sleep"),
        (14, 197, (), "ls"),
    ]
    assert [(row.pid, row.pids) for row in containers().pids(f"pidns-{NESTED}")] == [(1, (196, 13, 1))]


def test_every_event_in_a_container_is_of_a_process_that_the_state_knows() -> None:
    """The oracle are the contexts of all 23,771 events, of which the state used those of fork, exec and exit only."""
    known = {process.pid: process for process in containers().state.processes}
    seen = 0
    for event in open_trace(TRACE).events():
        context = event.context
        if context["pid_ns"] in (FIRST, SECOND, NESTED):
            process = known[context["pid"]]
            assert process.pid_ns == context["pid_ns"]
            assert context["vpid"] in (0, process.vpids[-1])  # 0 once it has left its namespaces
            seen += 1
    assert seen == 2098 + 6233 + 128


def test_columns_of_containers_in_tables_agree_with_the_contexts() -> None:
    """The oracle are the contexts of the events; the columns are joined from the state."""
    trace = open_trace(TRACE)
    inside: Counter[int] = Counter()
    for name in ("sched_switch", "irq_softirq_raise", "syscall_entry_openat", "syscall_exit_read", "sched_waking"):
        columns = ["vtid", "vpid", "pid_ns", "container", "container_name", "vtids", "vpids", "timestamp"]
        table = trace.table(name, columns=columns)
        assert table.column_names == columns
        times = []
        for row in table.to_polars().iter_rows(named=True):
            times.append(row["timestamp"])
            if row["vtid"]:  # 0 once it has left its namespaces
                expected = None if row["pid_ns"] == HOST else f"pidns-{row['pid_ns']}"
                assert (row["vtids"][-1], row["vpids"][-1]) == (row["vtid"], row["vpid"]), (name, row)
                assert row["container_name"] == row["container"] == expected, (name, row)
            inside[row["pid_ns"]] += 1
        assert times == trace.table(name, columns=["timestamp"]).to_polars()["timestamp"].to_list()
    assert min(inside[number] for number in (FIRST, SECOND, NESTED)) > 5


def test_a_query_may_ask_for_containers() -> None:
    found = run_query(
        open_trace(TRACE), "select container_name, count(*) from sched_switch where pid_ns != 0 group by 1 order by 2"
    )
    assert list(found.rows) == [
        (f"pidns-{NESTED}", 3), (f"pidns-{FIRST}", 53), (f"pidns-{SECOND}", 99), (None, 930),
    ]  # fmt: skip


def test_processes_as_trees() -> None:
    rows = containers().processes()
    assert {row.host_pid for row in rows if row.container is None} >= {1, 2, 183}
    parents = {row.host_pid: row.ppid for row in rows}
    assert (parents[196], parents[195], parents[184]) == (195, 184, 183)
    named = {row.host_pid: row.container.name for row in rows if row.container is not None}
    assert named == {
        176: f"pidns-{FIRST}",
        196: f"pidns-{NESTED}",
        **dict.fromkeys((184, 185, 186, 187, 188, 193, 194, 195, 197), f"pidns-{SECOND}"),
    }


def test_at_a_moment_only_what_lived_then() -> None:
    at = Nanoseconds(1795433793719176605)  # the nested container's first process is forked
    rows = containers().pids(f"pidns-{SECOND}", at=at)
    assert [(row.pid, row.name) for row in rows] == [(1, "sh"), (4, "redis-server"), (12, "unshare"), (13, "unshare")]
    assert [row.views[0].uid for row in rows] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("word", "count"),
    [(f"pidns-{FIRST}", 2098), (f"pidns-{SECOND}", 6233 + 128), (f"pidns-{NESTED}", 128), (str(SECOND), 6233)],
)
def test_container_means_its_events_and_those_inside(word: str, count: int) -> None:
    chosen = containers().selector(word)
    assert sum(1 for _ in open_trace(TRACE).events(where=chosen)) == count


def test_container_that_the_trace_does_not_know() -> None:
    with pytest.raises(ContainerNotFoundError):
        containers().selector("web")


def named(name: str, pid_ns: int, init: int, birth: int, *ancestors: int) -> Container:
    numbers = (NamespaceInum(pid_ns if kind == "pid" else 7) for kind in Namespaces.names())
    chain = tuple(map(NamespaceInum, ancestors))
    return Container(
        "docker", name, name, "running", init_pid=Pid(init), namespaces=Namespaces(*numbers),
        pid_ns_ancestors=chain, birth=Nanoseconds(birth),
    )  # fmt: skip


def test_stored_names_go_to_the_container_that_was_born_then(tmp_path: Path) -> None:
    shutil.copytree(TRACE / "kernel", tmp_path / "kernel")
    store = ContainerStore(tmp_path)
    base = open_trace(TRACE).streams[0].clock
    assert base is not None
    born = 1795433791262968485 - base.base_ns + store.boottime_offset
    store.record(
        [
            named("web", SECOND, 184, born - 7_000_000, HOST),  # as coarse as a clock tick
            named("earlier", SECOND, 184, born - 5_000_000_000, HOST),  # the same numbers, another life
            named("redis", FIRST, 176, 1, HOST),
            named("agent", HOST, 100, 1),
            named("elsewhere", 4026539999, 5000, 1, HOST),
        ]
    )
    trace = TraceContainers(open_trace(tmp_path))
    rows = {row.container.name: row for row in trace.rows()}
    assert set(rows) == {"web", "earlier", "redis", "agent", "elsewhere", f"pidns-{NESTED}"}
    assert (rows["web"].processes, rows["web"].container.state, rows["redis"].processes) == (10, "exited", 1)
    assert rows["earlier"].processes == rows["elsewhere"].processes == 0
    assert rows[f"pidns-{NESTED}"].parent is rows["web"].container
    assert sum(1 for _ in open_trace(TRACE).events(where=trace.selector("web"))) == 6233 + 128
    # It shares the host's pid namespace: its first process, and what descends from it.
    agents = {row.host_pid for row in trace.pids("agent")}
    assert {100, 174, 176, 183, 184, 196, 203} <= agents and not agents & {1, 2, 134}
    host = {event.context["pid"] for event in open_trace(TRACE).events(where=trace.selector("agent"))}
    assert {100, 183, 184, 176} <= host <= agents
