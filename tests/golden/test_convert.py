"""Traces written again, and asked about."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import boxtrace
from boxtrace.errors import OutputError, UsageError
from boxtrace.filters import Filter
from boxtrace.trace.convert import copy_ctf, filter_ctf, write_parquet
from boxtrace.trace.sql import run_query
from boxtrace.trace.summary import summarize
from boxtrace.view.text import TextView
from support.ctf_sample import write_sample

KERNEL = Path(__file__).parents[1] / "data" / "lttng-kernel-trace"


def text(path: Path) -> list[str]:
    return list(TextView(utc=True).lines(boxtrace.open(path).events()))


def test_to_ctf2_and_back_is_the_same_trace(tmp_path: Path) -> None:
    copy_ctf(boxtrace.open(KERNEL), tmp_path / "two", ctf2=True)
    assert (tmp_path / "two" / "kernel" / "metadata").read_bytes()[:1] == b"\x1e"
    copy_ctf(boxtrace.open(tmp_path / "two"), tmp_path / "one", ctf2=False)
    original = boxtrace.open(KERNEL)
    assert boxtrace.open(tmp_path / "one").parts[0][1] == original.parts[0][1]
    expected = text(KERNEL)
    assert text(tmp_path / "two") == expected
    assert text(tmp_path / "one") == expected


@pytest.mark.parametrize("ctf2", [False, True])
def test_part_of_a_trace(tmp_path: Path, ctf2: bool) -> None:
    trace = boxtrace.open(KERNEL)
    begin = 1795433792000000000
    kept = filter_ctf(trace, tmp_path / "part", ctf2=ctf2, begin=begin, where=lambda e: e["pid_ns"] == 4026532148)
    chosen = [event for event in trace.events(begin=begin) if event["pid_ns"] == 4026532148]
    assert kept == len(chosen) == 1727
    part = list(boxtrace.open(tmp_path / "part").events())
    assert [(event.timestamp, event.name, event.payload) for event in part] == [
        (event.timestamp, event.name, event.payload) for event in chosen
    ]


def test_gaps_wider_than_the_short_time_stamp(tmp_path: Path) -> None:
    # In the sample the second event comes more than 2**32 ns after the first.
    trace = boxtrace.open(write_sample(tmp_path / "sample"))
    filter_ctf(trace, tmp_path / "part", ctf2=False, where=lambda event: True)
    assert text(tmp_path / "part") == text(tmp_path / "sample")


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    count = write_parquet(boxtrace.open(KERNEL), tmp_path / "parquet")
    assert count == 23771
    rows = parquet.read_table(tmp_path / "parquet" / "event=sched_process_fork" / "part-0.parquet")
    assert rows.num_rows == 21
    assert [184, 1] in rows["vtids"].to_pylist()
    assert rows.schema.metadata[b"boxtrace.env.hostname"] == b"lttngvm"


def test_parquet_of_chosen_events(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    command = ("convert", "--to", "parquet", "--filter", "$ctx.pid_ns == 4026532205", "--event", "s*")
    assert run(*command, KERNEL, tmp_path / "out").returncode == 0
    wanted = Filter("$ctx.pid_ns == 4026532205")
    expected = Counter(
        event.name
        for event in boxtrace.open(KERNEL).events()
        if event.name.startswith("s") and wanted.matches(event.view)
    )
    found = {}
    for path in (tmp_path / "out").iterdir():
        rows = parquet.read_table(path / "part-0.parquet")
        found[path.name.removeprefix("event=")] = rows.num_rows
        assert set(rows["pid_ns"].to_pylist()) == {4026532205}
    assert found == expected
    assert sum(found.values()) > 1000


@pytest.mark.parametrize("form", [(), ("--json",), ("--names",), ("--csv",)])
def test_view_of_chosen_events_that_match(form: tuple[str, ...]) -> None:
    """Lines are those of a view of all events, but for the time since the last one."""
    pattern, expression = "syscall_entry_[mo]*", "$ctx.pid_ns == 4026532205"
    wanted = Filter(expression)
    names = [
        event.name
        for event in boxtrace.open(KERNEL).events()
        if event.name.startswith(("syscall_entry_m", "syscall_entry_o")) and wanted.matches(event.view)
    ]
    shown = run("view", *form, "--event", pattern, "--filter", expression, KERNEL)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()[form == ("--csv",) :]
    assert len(names) > 100
    assert [re.search(r"syscall_entry_\w+", line)[0] for line in lines] == names  # type: ignore[index]


def test_output_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(OutputError):
        copy_ctf(boxtrace.open(KERNEL), tmp_path, ctf2=True)


def test_sql() -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    trace = boxtrace.open(KERNEL)
    result = run_query(trace, "select next_comm, count(*) as n from sched_switch group by 1 order by n desc limit 2")
    assert (list(result.columns), result.rows) == (["next_comm", "n"], [("rcu_preempt", 308), ("swapper/1", 264)])
    with pytest.raises(UsageError, match="the query failed"):
        run_query(trace, "select * from read_csv('/etc/passwd')")


def test_summary() -> None:
    summary = summarize(boxtrace.open(KERNEL))
    assert sum(count for _, count in summary.events) == 23771
    assert summary.events[0] == ("irq_softirq_raise", 1999)
    assert [(stream.packets, stream.discarded) for stream in summary.streams] == [(2, 0), (1, 0)]
    assert summary.failures == ()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from boxtrace.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_commands(tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "sample")
    done = run("info", "--json", sample)
    assert json.loads(done.stdout)["events"] == {"nothing": 1, "sched_process_fork": 1}
    assert "2 of 2 types" in run("info", "--utc", sample).stdout
    assert run("sql", "--csv", sample, "select vtids[2] as t from sched_process_fork").stdout == "t\n11\n"
    assert run("convert", "--to", "json", "--event", "noth*", sample, tmp_path / "out.json").returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["name"] == "nothing"
    late = run("view", "--utc", "--begin", "2001-09-09T01:46:41Z", sample)
    assert [line.split()[3] for line in late.stdout.splitlines()] == ["nothing:"]
    wrong = run("view", "--begin", "soon", sample)
    assert (wrong.returncode, "'soon' is not a time" in wrong.stderr) == (2, True)


def test_damage_is_told_by_info(tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "sample")
    with (sample / "kernel" / "channel0_0").open("ab") as file:
        file.write(b"garbage")
    done = run("info", sample)
    assert done.returncode == 1
    assert "damaged" in done.stdout and "2 of 2 types" in done.stdout


@pytest.mark.parametrize("form", ["ctf1", "parquet"])
def test_what_is_nested_too_deeply_to_be_written_is_one_error(tmp_path: Path, form: str) -> None:
    fields = "struct { " * 270 + "integer { size = 8; } v;" + "} x;" * 270
    trace = tmp_path / "trace"
    trace.mkdir()
    (trace / "metadata").write_text(
        "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { };"
        f'event {{ name = "e"; fields := struct {{ {fields} }}; }};'
    )
    (trace / "stream").write_bytes(b"\7")
    code = "from boxtrace.cli.main import main; main()"
    command = [sys.executable, "-c", code, "convert", str(trace), str(tmp_path / "out"), "--to", form]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"boxtrace: error: .*(nested|[Rr]ecursion).*\n", done.stderr), done.stderr[-500:]
