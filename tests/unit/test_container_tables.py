import io
import json

import pytest

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.model import CGROUP2, Cgroup, Container, Namespaces
from boxtrace.containers.views import View
from boxtrace.errors import UsageError
from boxtrace.units import NamespaceInum, Nanoseconds, Pid
from boxtrace.view.columns import CONTAINER_COLUMNS
from boxtrace.view.containers import (
    write_containers,
    write_containers_json,
    write_pids,
    write_pids_json,
    write_processes,
)
from boxtrace.view.table import write_table


def container(name: str, pid_ns: int, *around: int) -> Container:
    numbers = (NamespaceInum(pid_ns if kind == "pid" else 7) for kind in Namespaces.names())
    return Container(
        runtime="docker",
        id=name[0] * 64 if name[0] in "abc" else name,
        name=name,
        state="running",
        image="redis:7",
        init_pid=Pid(42),
        namespaces=Namespaces(*numbers),
        pid_ns_ancestors=tuple(map(NamespaceInum, around)),
        birth=Nanoseconds(1),
        cgroups=(Cgroup(CGROUP2, f"/{name}"),),
    )


OUTER, INNER = container("bouter", 100, 1), container("ainner", 200, 100, 1)
ROWS = [ContainerRow(INNER, OUTER, 1), ContainerRow(OUTER, None, 3, "sh")]
VIEWS = (View(None, 500, 100_000, 100_000, "/merged/bin/sh"), View(OUTER, 1, 0, 0, "/bin/sh"))
PIDS = [
    PidRow("sh", (500, 1), 1, NamespaceInum(100), container=OUTER, views=VIEWS, threads=((500, 1), (501, 2))),
    PidRow("sleep", (510, 7, 2, 1), 1, NamespaceInum(300), ppid=500, container=OUTER),
]


def test_list_is_aligned_text() -> None:
    text = io.StringIO()
    write_containers(ROWS, text)
    assert text.getvalue() == (
        "RUNTIME  ID            NAME    IMAGE    STATE    INIT_PID  PID_NS  PROCS  COMMAND  CGROUP\n"
        "docker   aaaaaaaaaaaa  ainner  redis:7  running        42     200      1  -        /ainner\n"
        "docker   bbbbbbbbbbbb  bouter  redis:7  running        42     100      3  sh       /bouter\n"
    )


def test_tree_puts_what_is_inside_below() -> None:
    text = io.StringIO()
    write_containers(ROWS, text, tree=True)
    assert [line[23:32] for line in text.getvalue().splitlines()[1:]] == ["bouter   ", "  ainner "]


def test_json_has_the_facts_twice() -> None:
    text = io.StringIO()
    write_containers_json(ROWS, text)
    inner, outer = json.loads(text.getvalue())
    assert (inner["parent"], outer["parent"], outer["processes"]) == ("b" * 64, None, 3)
    assert inner["namespaces"]["pid"] == inner["pid_ns"] == 200
    assert (inner["attributes"]["container.image.name"], inner["prometheus"]["labels"]["image"]) == ("redis", "redis:7")


def test_pids_at_each_level() -> None:
    text = io.StringIO()
    write_pids(PIDS, text)
    assert text.getvalue() == (
        "PID  HOST_PID  NESTED_PIDS  PID_NS  UID  HOST_UID  NAME\n"
        "  1       500  -               100    0    100000  sh\n"
        "  7       510  2/1             300    -         -  sleep\n"
    )
    text = io.StringIO()
    write_pids(PIDS, text, threads=True, columns="uids,host_path,path")
    assert text.getvalue().splitlines()[1:] == [
        "  1       500  100000/0  /merged/bin/sh  /bin/sh",
        "  2       501  100000/0  /merged/bin/sh  /bin/sh",
    ]
    text = io.StringIO()
    write_pids_json(PIDS, text)
    assert [(row["pid"], row["host_pid"], row["pids"]) for row in json.loads(text.getvalue())] == [
        (1, 500, [500, 1]),
        (7, 510, [510, 7, 2, 1]),
    ]


def test_processes_as_a_tree_for_each_container() -> None:
    inside = PidRow("redis", (520, 9, 1), 2, NamespaceInum(200), ppid=510, container=INNER)
    init = PidRow("init", (1,), 0, NamespaceInum(1))
    text = io.StringIO()
    write_processes([init, *PIDS, inside], ROWS, text, columns="pid")
    assert text.getvalue() == (
        "CONTAINER  PID  NAME\n"
        "-            1  init\n"
        "bouter       1  sh\n"
        "bouter       7    sleep\n"
        "ainner       1  redis\n"
    )


def test_a_column_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="did you mean 'image'"):
        write_containers(ROWS, io.StringIO(), columns="name,imag")


def test_columns_are_chosen_or_added() -> None:
    text = io.StringIO()
    write_containers(ROWS, text, tree=True, columns="pid_ns,name")
    assert text.getvalue() == "PID_NS  NAME\n   100  bouter\n   200    ainner\n"
    assert CONTAINER_COLUMNS.choose("+mnt_ns", lives=False)[-2:] == ("cgroup", "mnt_ns")


def test_empty_table_has_its_headers() -> None:
    text = io.StringIO()
    write_table(["A", "B"], [], text)
    assert text.getvalue() == "A  B\n"


def test_terminal_gets_text_without_markup() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    text = Terminal()
    write_table(["NAME", "N"], [["[red]x[/red]", 7]], text)
    assert "[red]x[/red]" in text.getvalue()
