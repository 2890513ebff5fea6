"""Event rules of a channel: which event is whose, and what limits are in words."""

from types import SimpleNamespace
from typing import cast

import pytest

from boxtrace.containers.model import Container
from boxtrace.ctf.fields import StructField
from boxtrace.ctf.model import EventClass
from boxtrace.errors import UsageError
from boxtrace.kernel.catalogue import Catalogue
from boxtrace.kernel.rules import EVERYTHING_ELSE, parse_limit, parse_rate, parse_sample, plan_rules
from boxtrace.kernel.selection import FilterRule, LimitRule, Rate
from boxtrace.session.channel import Channel, sum_counts
from boxtrace.session.left_out import with_losses
from boxtrace.session.options import ContainerCount, RuleCount

NAMES = ("sched_switch", "sched_waking", "syscall_entry_read", "lttng_statedump_start")
CATALOGUE = Catalogue(
    tuple(EventClass(id=n, name=name, fields=StructField(members=())) for n, name in enumerate(NAMES, start=1)),
    {},
    (),
    frozenset(),
)
SLOW = Rate(10**9, 1)


@pytest.mark.parametrize(
    ("text", "interval", "burst", "again"),
    [
        ("1000/s", 10**6, 100, "1000/s:100"),
        ("1000/s:7", 10**6, 7, "1000/s:7"),
        ("5/s", 2 * 10**8, 1, "5/s:1"),
        ("10/m", 6 * 10**9, 1, "10/m:1"),
        ("1/h:100", 3600 * 10**9, 100, "1/h:100"),
        ("2/ms", 5 * 10**5, 200, "2000/s:200"),
        ("999999999/s:1", 1, 1, "1000000000/s:1"),
    ],
)
def test_rates(text: str, interval: int, burst: int, again: str) -> None:
    rate = parse_rate(text)
    assert rate == Rate(interval, burst)
    assert str(rate) == again


@pytest.mark.parametrize(
    "text", ["", "10", "10/d", "0/s", "1.5/s", "-1/s", "1/s:", "1/s:0", "1/h:999999999", "2000000/ms"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "1", "1/0", "2/3", "1/1.5", "1/-2"])
def test_what_is_no_sample(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sample(text)


def test_limits_of_one_rule_come_together() -> None:
    limit = parse_limit("a", ["1/s", "1/7"])
    assert limit == LimitRule("a", SLOW, 7)
    assert limit.texts() == ["1/s:1", "1/7"]
    assert parse_limit("a", ["none"]).texts() == []
    with pytest.raises(UsageError, match="two limits of one kind"):
        parse_limit("a", ["1/s", "2/s"])


def test_one_rule_is_told_apart_from_what_is_recorded_in_any_case() -> None:
    assert plan_rules(CATALOGUE, (), (), (), most=64) is None
    plan = plan_rules(CATALOGUE, ("sched_*",), (), (), most=64)
    assert plan is not None and plan.names == ("", "sched_*") and not plan.limits


def test_an_event_belongs_to_the_rule_that_limits_it_then_to_its_filter_then_to_its_pattern() -> None:
    plan = plan_rules(
        CATALOGUE,
        ("*", "syscall_*", "sched_switch"),
        [FilterRule("syscall_*", "fd")],
        [LimitRule("sched_switch", SLOW)],
        most=64,
    )
    assert plan is not None
    assert [plan.names[plan.numbers.get(number, 0)] for number in range(1, 5)] == ["sched_switch", "*", "syscall_*", ""]
    assert plan.limited == {1}
    assert plan.parameters(plan.names.index("sched_switch")) == {"interval": 10**9, "tolerance": 10**9}
    assert plan.parameters(plan.names.index("*")) == {}
    assert plan.with_limit(LimitRule("sched_switch", sample=2)).parameters(1) == {"sample": 1 << 31}


def test_what_programs_make_belongs_to_one_rule_or_to_none() -> None:
    plan = plan_rules(CATALOGUE, ("sched_*", "syscall_*"), (), (), most=64)
    assert plan is not None
    assert plan.name_of({1, 2}) == "sched_*"
    assert plan.name_of({3, 4}) == "syscall_*"  # the state dump belongs to none
    assert plan.name_of({1, 3}) == plan.name_of(set()) == EVERYTHING_ELSE


def test_limits_that_cannot_be() -> None:
    def plan(*limits: LimitRule, most: int = 64) -> None:
        plan_rules(CATALOGUE, ("*",), (), limits, most=most)

    with pytest.raises(UsageError, match="no event that is recorded matches 'lttng_\\*'"):
        plan(LimitRule("lttng_*", SLOW))
    with pytest.raises(UsageError, match="sched_switch has two limits"):
        plan(LimitRule("sched_*", SLOW), LimitRule("*_switch", SLOW))
    with pytest.raises(UsageError, match="2 event rules have limits: 1 can"):
        plan(LimitRule("sched_*", SLOW), LimitRule("sys*", SLOW), most=2)


def test_losses_per_container_are_those_by_rule() -> None:
    web, db = (Container("docker", name, name, "running") for name in ("web", "db"))
    counts = (ContainerCount(web, 5, 1), ContainerCount(db, 6, 2), ContainerCount(None, 7, 97))
    left_out = [
        RuleCount(container=web, channel="a", rule="x", discarded=30),
        RuleCount(container=web, channel="b", rule="y", discarded=10),
        RuleCount(container=None, channel="a", rule="x", discarded=60),
    ]
    assert [count.discarded for count in with_losses(counts, left_out)] == [40, 0, 60]


def test_what_channels_count_of_one_container_is_counted_together() -> None:
    """So that what was lost of it, which is told by its id, is not told twice."""
    first, second = (Container("crun", "job", "job", state) for state in ("created", "running"))
    channels = [
        cast("Channel", SimpleNamespace(accounts=SimpleNamespace(counts=lambda counts=counts: counts)))
        for counts in (
            (ContainerCount(first, 5, 3), ContainerCount(None, 1, 2)),
            (ContainerCount(second, 2, 1), ContainerCount(None, 0, 0)),
        )
    ]
    counts = sum_counts(channels)
    assert counts == (ContainerCount(second, 7, 4), ContainerCount(None, 1, 2))
    left_out = [RuleCount(container=first, channel="a", rule="x", discarded=4)]
    assert sum(count.discarded for count in with_losses(counts, left_out)) == 6
