"""Whose arrival is recorded: of everybody, or of those only that turn out to be wanted, whatever is told first."""

from dataclasses import replace

from boxtrace.containers.model import Container
from boxtrace.session.arrivals import Arrivals
from boxtrace.units import Pid

WANTED = Container(runtime="docker", id="a" * 12, name="web", state="running", init_pid=Pid(10))


def test_of_the_whole_host_everybody_arrives_by_executing() -> None:
    arrived: list[int] = []
    arrivals = Arrivals(lambda: True, arrived.append)
    arrivals.executed([Pid(10), Pid(20)])
    arrivals.named([WANTED])
    assert arrived == [10, 20]


def test_of_a_selection_only_who_is_wanted_and_has_executed_something() -> None:
    arrived: list[int] = []
    arrivals = Arrivals(lambda: False, arrived.append)
    arrivals.executed([Pid(10), Pid(20)])
    assert arrived == []
    arrivals.named(
        [WANTED, replace(WANTED, id="b" * 12, init_pid=Pid(30)), replace(WANTED, id="c" * 12, init_pid=None)]
    )
    assert arrived == [10]
    arrivals.named([WANTED])
    arrivals.executed([Pid(30), Pid(40)])
    assert arrived == [10, 30]


def test_what_is_remembered_is_bounded() -> None:
    arrived: list[int] = []
    arrivals = Arrivals(lambda: False, arrived.append)
    arrivals.executed([Pid(number) for number in range(1, 5000)])
    arrivals.named([WANTED])
    assert arrived == []
    arrivals.named([replace(WANTED, init_pid=Pid(4999))])
    assert arrived == [4999]
