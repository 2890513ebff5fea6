"""What a recording leaves out, by container and event rule, as the BPF programs count it."""

from __future__ import annotations

import mmap
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from boxtrace import _native
from boxtrace.containers.model import BIRTH_RESOLUTION_NS, UNKNOWN_RUNTIME, Container
from boxtrace.containers.unknown import pid_ns_id
from boxtrace.kernel.rules import EVERYTHING_ELSE
from boxtrace.session.channel import Channel
from boxtrace.session.options import ContainerCount, RuleCount

__all__ = ["count_left_out", "with_losses"]

_WORD: Final = 8


def count_left_out(
    channels: Iterable[Channel], known: Sequence[Container], covers: Callable[[Container], bool]
) -> tuple[RuleCount, ...]:
    """Return what is not in the trace, the most first; nothing of containers and rules that all is there of.

    :param known: containers that the kernel may have counted apart before anybody told of them.
    :param covers: whether the trace may tell of a container; others are part of everything else (scheduler events of
        selected tasks are counted where they happen).
    """
    merged: dict[tuple[object, str, str], RuleCount] = {}
    by_pid_ns: defaultdict[int, list[Container]] = defaultdict(list)
    for each in known:
        if each.pid_ns is not None:
            by_pid_ns[each.pid_ns].append(each)
    for channel in channels:
        counts = _Counts(channel, by_pid_ns)
        for count in (*counts.counts(), *_rest(channel, counts), *_skipped(channel)):
            container = count.container if count.container is not None and covers(count.container) else None
            who = None if container is None else container.life
            key = (who, count.channel, count.rule)
            before = merged.get(key, RuleCount(container=container, channel=count.channel, rule=count.rule))
            merged[key] = replace(
                before,
                filtered=before.filtered + count.filtered,
                sampled=before.sampled + count.sampled,
                limited=before.limited + count.limited,
                discarded=before.discarded + count.discarded,
                skipped=before.skipped + count.skipped,
            )

    def weight(count: RuleCount) -> tuple[int, int]:
        return -count.discarded, -(count.skipped + count.limited + count.sampled + count.filtered)

    return tuple(sorted(filter(None, merged.values()), key=weight))


def with_losses(counts: Sequence[ContainerCount], left_out: Iterable[RuleCount]) -> tuple[ContainerCount, ...]:
    """Return the counts per container with what was lost by rule, which the kernel counts from the first event on.

    Accounts count since their containers were found. The sum of what was lost stays what it was.
    """
    lost: Counter[object] = Counter()
    for each in left_out:
        if each.container is not None:
            lost[each.container.life] += each.discarded
    total = sum(count.discarded for count in counts)
    found = [replace(count, discarded=lost[count.container.life]) for count in counts if count.container is not None]
    rest = total - sum(count.discarded for count in found)
    return (*found, *(replace(count, discarded=max(0, rest)) for count in counts if count.container is None))


def _rest(channel: Channel, counts: _Counts) -> Iterable[RuleCount]:
    """Yield what was discarded of events that have no rule: by container in a channel that has none.

    Where there are rules, next to nothing is left. Whose that was cannot be told: a program that comes amid a change of
    the task is counted by rule with one, in the accounts with the other.
    """
    discarded = channel.accounts.discarded()
    if channel.programs.image.rules is not None:
        total = sum(number for _, number in discarded) - counts.discarded()
        discarded = [(None, max(0, total))]
    for container, number in discarded:
        yield RuleCount(container=container, channel=channel.options.name, rule=EVERYTHING_ELSE, discarded=number)


def _skipped(channel: Channel) -> Iterable[RuleCount]:
    """Yield what the kernel skipped: by rule where all events of a program are one's. Whose it was nobody counts."""
    image = channel.programs.image
    for program, number in channel.skipped.items():
        made = image.config.catalogue.made_by.get(program, frozenset())
        rule = EVERYTHING_ELSE if image.rules is None else image.rules.name_of(made)
        yield RuleCount(container=None, channel=channel.options.name, rule=rule, skipped=number)


class _Counts:
    """The maps of one channel's counts; nothing where its rules are not told apart.

    :param known: containers by pid namespace.
    """

    def __init__(self, channel: Channel, known: Mapping[int, Sequence[Container]]) -> None:
        image = channel.programs.image
        self._channel = channel
        self._known = known
        self._image = image
        self._rules = () if image.rules is None else image.rules.names
        self._size = image.struct_size("bt_rule_count")
        kinds = dict(image.bpf.enum_values("bt_left_out"))
        self._discarded = kinds["BT_LEFT_DISCARDED"]
        self._filtered, self._sampled = kinds["BT_LEFT_FILTERED"], kinds["BT_LEFT_SAMPLED"]
        self._limited = kinds["BT_LEFT_LIMITED"]
        length = -(-max(1, image.cpus * image.counts_per_cpu) * self._size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._words = _native.SharedWords(mmap.mmap(image.counts_fd, length))

    def _number(self, owner: int, rule: int, kind: int) -> int:
        entry = owner * len(self._rules) + rule
        return sum(
            self._words.load((cpu * self._image.counts_per_cpu + entry) * self._size + kind * _WORD)
            for cpu in range(self._image.cpus)
        )

    def _owners(self) -> Iterable[tuple[int, int, int, int]]:
        """Yield number, account, pid namespace and birth of each owner; all zero for everything else."""
        if not self._rules:
            return
        yield 0, 0, 0, 0
        last = _native.map_lookup(
            self._image.map_fd(".data.owners"), bytes(4), self._image.bpf.map_value_size(".data.owners")
        )
        assert last is not None
        most = self._image.limits["BT_OWNERS"] - 1
        size, offsets = self._image.struct_size("bt_owner"), self._image.struct_offsets("bt_owner")
        for number in range(1, min(most, struct.unpack_from("<I", last)[0]) + 1):
            raw = _native.map_lookup(self._image.map_fd("owner_keys"), struct.pack("<I", number), size)
            assert raw is not None
            (account,) = struct.unpack_from("<I", raw, offsets["account"])
            (pid_ns,) = struct.unpack_from("<I", raw, offsets["pid_ns"])
            (born,) = struct.unpack_from("<Q", raw, offsets["born"])
            yield number, account, pid_ns, born

    def discarded(self) -> int:
        """Return how many events were discarded, of all owners and rules."""
        return sum(
            self._number(owner, rule, self._discarded)
            for owner, *_ in self._owners()
            for rule in range(len(self._rules))
        )

    def counts(self) -> Iterable[RuleCount]:
        """Yield the counts of every owner and rule."""
        for owner, account, pid_ns, born in self._owners():
            container = self._container(account, pid_ns, born)
            for rule, name in enumerate(self._rules):
                yield RuleCount(
                    container=container,
                    channel=self._channel.options.name,
                    rule=name,
                    filtered=self._number(owner, rule, self._filtered),
                    sampled=self._number(owner, rule, self._sampled),
                    limited=self._number(owner, rule, self._limited),
                    discarded=self._number(owner, rule, self._discarded),
                )

    def _container(self, account: int, pid_ns: int, born: int) -> Container | None:
        if account:
            return self._channel.accounts.containers[account - 1]
        if not pid_ns:
            return None
        near = {
            abs(container.birth - born): container
            for container in self._known.get(pid_ns, ())
            if container.birth is not None
        }
        if near and min(near) <= BIRTH_RESOLUTION_NS:
            return near[min(near)]
        name = pid_ns_id(pid_ns)
        return Container(UNKNOWN_RUNTIME, f"{name}-{born}", name, "exited")
