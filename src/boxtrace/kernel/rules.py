"""Event rules of a channel: which events are whose, how many of each container are wanted, what is counted by rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from boxtrace.errors import UsageError
from boxtrace.kernel.catalogue import LATE_STRING, Catalogue
from boxtrace.kernel.selection import FilterRule, LimitRule, Rate
from boxtrace.kernel.statedump.events import CONTAINER_NUMBER, STATE_DUMP, VM_MAP

__all__ = [
    "ALWAYS_RECORDED",
    "EVERYTHING_ELSE",
    "RulePlan",
    "concerns",
    "parse_limit",
    "parse_rate",
    "parse_sample",
    "plan_rules",
]

ALWAYS_RECORDED: Final = frozenset(event.name for event in (*STATE_DUMP, VM_MAP, CONTAINER_NUMBER, LATE_STRING))
"""Events that no filter and no limit is about: the state dump, and those that belong to others."""
EVERYTHING_ELSE: Final = ""
"""Name of the rule of events that belong to none."""

_UNITS: Final[Mapping[str, int]] = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_RATE: Final = re.compile(rf"(\d{{1,9}})/({'|'.join(_UNITS)})(?::(\d{{1,9}}))?")
_SAMPLE: Final = re.compile(r"1/(\d{1,9})")
_BURSTS_PER_SECOND: Final = 10
_SECOND: Final = 10**9
_LONGEST: Final = 1 << 61
"""Of an interval, and of a burst's intervals together, ns: what the programs can subtract from a time."""
_RANDOM: Final = 1 << 32


def parse_rate(text: str) -> Rate:
    """Make a rate of ``N/UNIT`` or ``N/UNIT:BURST``; the unit is ``ms``, ``s``, ``m`` or ``h``.

    Without a burst it is what comes in a tenth of a second, or one event.

    :raises UsageError: for anything else.
    """
    match = _RATE.fullmatch(text)
    count = int(match[1]) if match is not None else 0
    if match is None or not 0 < count <= _UNITS[match[2]]:
        raise UsageError(
            f"{text!r} is no rate: N/UNIT or N/UNIT:BURST, such as 1000/s, 10/m or 1000/s:5000",
            hint=f"units are {', '.join(_UNITS)}; the shortest interval is 1 ns",
        )
    interval = _UNITS[match[2]] // count
    burst = int(match[3]) if match[3] is not None else max(1, _SECOND // _BURSTS_PER_SECOND // interval)
    if not 0 < burst <= _LONGEST // interval:
        raise UsageError(f"{text!r}: a burst is of 1 to {_LONGEST // interval} events at this rate")
    return Rate(interval, burst)


def parse_sample(text: str) -> int:
    """Return N of ``1/N``.

    :raises UsageError: for anything else.
    """
    match = _SAMPLE.fullmatch(text)
    if match is None or not int(match[1]):
        raise UsageError(f"{text!r} is no sample: 1/N, such as 1/100")
    return int(match[1])


def parse_limit(events: str, texts: Iterable[str]) -> LimitRule:
    """Make the limit of a rule of a rate, a sample, both, or ``none``.

    :raises UsageError: for anything else.
    """
    limits = []
    for text in texts:
        if _SAMPLE.fullmatch(text):
            limits.append(LimitRule(events, sample=parse_sample(text)))
        elif text != "none":
            limits.append(LimitRule(events, rate=parse_rate(text)))
    return _merge(limits).get(events, LimitRule(events))


def concerns(pattern: str, name: str, kernel_name: str | None) -> bool:
    """Tell whether a rule with this pattern is about an event, which may have another name in the kernel."""
    matches = fnmatchcase(name, pattern) or (kernel_name is not None and fnmatchcase(kernel_name, pattern))
    return matches and name not in ALWAYS_RECORDED


@dataclass(frozen=True, slots=True)
class RulePlan:
    """The event rules of a channel, for its programs.

    :param names: by number; that of number 0 is :data:`EVERYTHING_ELSE`.
    :param numbers: by event id; an event that is not there has number 0.
    :param limits: by number.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    limits: Mapping[int, LimitRule]

    @property
    def limited_patterns(self) -> frozenset[str]:
        """Patterns of the rules whose limits can be changed."""
        return frozenset(limit.events for limit in self.limits.values())

    def with_limit(self, limit: LimitRule) -> RulePlan:
        """Return the plan with another limit for a rule that has one."""
        return replace(self, limits=dict(self.limits) | {self.names.index(limit.events): limit})

    @property
    def limited(self) -> frozenset[int]:
        """Ids of the events of which not all may be wanted."""
        return frozenset(event for event, rule in self.numbers.items() if rule in self.limits)

    def name_of(self, events: Iterable[int]) -> str:
        """Return the name of the one rule that all of these events belong to, as far as they have any; else none."""
        numbers = {self.numbers[event] for event in events if event in self.numbers}
        return self.names[numbers.pop()] if len(numbers) == 1 else EVERYTHING_ELSE

    def parameters(self, rule: int) -> dict[str, int]:
        """Return the members of ``bt_rule`` for a rule; without any limit if they are empty."""
        limit = self.limits.get(rule, LimitRule(EVERYTHING_ELSE))
        values: dict[str, int] = {}
        if limit.rate is not None:
            values |= {"interval": limit.rate.interval, "tolerance": limit.rate.interval * limit.rate.burst}
        if limit.sample > 1:
            values["sample"] = _RANDOM // limit.sample
        return values


def plan_rules(
    catalogue: Catalogue,
    patterns: Sequence[str],
    filters: Iterable[FilterRule],
    limits: Iterable[LimitRule],
    *,
    most: int,
) -> RulePlan | None:
    """Tell the rules of a channel apart; None where there are none.

    An event belongs to the first rule that limits it, else to the first with a filter for it, else to the first pattern
    by which it is recorded.

    :param patterns: by which events are recorded.
    :param most: how many rules there may be.
    :raises UsageError: for a limit without events, an event with two limits, too many rules with limits.
    """
    limited = _merge(limits)
    tested = [rule.events for rule in filters]
    if not (limited or tested or patterns):
        return None
    names = tuple(dict.fromkeys((EVERYTHING_ELSE, *limited, *tested, *patterns)))[:most]
    if len(limited) >= most:
        raise UsageError(f"{len(limited)} event rules have limits: {most - 1} can")
    kernel_names = {each.id: f"{each.tracepoint.group}:{each.tracepoint.event}" for each in catalogue.tracepoints}
    numbers: dict[int, int] = {}
    for number, name in enumerate(names[1:], start=1):
        events = [event for event in catalogue.classes if concerns(name, event.name, kernel_names.get(event.id))]
        if name in limited and not events:
            raise UsageError(f"no event that is recorded matches {name!r}, which a limit is for")
        for event in events:
            if name in limited and event.id in numbers:
                raise UsageError(f"{event.name} has two limits, of {names[numbers[event.id]]!r} and {name!r}")
            numbers.setdefault(event.id, number)
    return RulePlan(names, numbers, {names.index(name): limit for name, limit in limited.items()})


def _merge(limits: Iterable[LimitRule]) -> dict[str, LimitRule]:
    """Return one limit for each pattern: its rate and its sample may have been given apart."""
    merged: dict[str, LimitRule] = {}
    for limit in limits:
        before = merged.get(limit.events, LimitRule(limit.events))
        if (before.rate and limit.rate) or (before.sample and limit.sample):
            raise UsageError(f"the events {limit.events!r} have two limits of one kind")
        merged[limit.events] = LimitRule(limit.events, before.rate or limit.rate, before.sample or limit.sample)
    return merged
