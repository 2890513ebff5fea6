"""What a recording is limited to, as sets that can be changed while it runs (``boxtrace track``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from boxtrace.containers.match import match
from boxtrace.containers.model import Container
from boxtrace.containers.podman import Podman
from boxtrace.containers.rules import ContainerRule, ContainerRules, Property, is_glob
from boxtrace.errors import SelectionError, UsageError
from boxtrace.kernel.selection import Newborn
from boxtrace.kernel.trackers import KINDS, TrackerId, parse_id
from boxtrace.session.channel import Channel
from boxtrace.session.options import RecordOptions
from boxtrace.session.targets import Targets, check_process, find_pid_namespaces, newborn_policy, select_targets

__all__ = ["FLAGS", "TrackSets", "Tracking", "kind_words"]

FLAGS = {"new-containers": "new", "host-only": "host_only"}
"""Kinds without values, and what they are called in :class:`ContainerRules`."""
_CGROUP = "cgroup"
_LATE = (
    "containers that start from now on are taken, or left out, up to a second after their start: "
    "the recording began without a selection of containers"
)
_NO_LABELS = "Podman tells the labels of its containers only where its API service is on (podman system service)"


def kind_words() -> tuple[str, ...]:
    """Return the word of every kind of which a recording has a set."""
    return (*Property, _CGROUP, *KINDS, *FLAGS)


@dataclass(frozen=True, slots=True)
class TrackSets:
    """The sets of one moment."""

    rules: ContainerRules = field(default_factory=ContainerRules)
    cgroups: tuple[str, ...] = ()
    ids: frozenset[TrackerId] = frozenset()

    @classmethod
    def of_options(cls, options: RecordOptions, containers: Sequence[Container]) -> TrackSets:
        """Make the sets that a recording begins with.

        :param containers: all that there are.
        :raises SelectionError: for a container that does not exist or does not run, a process that does not exist.
        :raises UsageError: for what contradicts itself.
        """
        sets = cls(ContainerRules(new=options.new_containers, host_only=options.host_only), options.cgroups)
        for word, texts in (
            (Property.CONTAINER, options.containers),
            (Property.IMAGE, options.images),
            (Property.LABEL, options.labels),
        ):
            sets = sets.with_values(word, texts, containers)
        ids = {*options.ids}
        for each in ids:
            if each.kind == "pid":
                check_process(int(each.value))
        sets = replace(sets, ids=frozenset(ids))
        sets.rules.check()
        return sets

    def with_values(self, word: str, texts: Iterable[str], containers: Sequence[Container]) -> TrackSets:
        """Return the sets with more values of a kind. A value that is there already is replaced: excluded or not.

        :raises SelectionError: for a container or a process that does not exist.
        :raises UsageError: for a kind or a value that cannot be.
        """
        texts = tuple(texts)
        if word in FLAGS:
            return self._with_flag(word, texts, value=True)
        if word == _CGROUP:
            paths = {text.removeprefix("!") for text in texts}
            return replace(self, cgroups=(*(one for one in self.cgroups if one.removeprefix("!") not in paths), *texts))
        if word in set(Property):
            rules = {_resolve(ContainerRule.parse(Property(word), text), containers) for text in texts}
            kept = {rule for rule in self.rules.rules if _without_sign(rule) not in map(_without_sign, rules)}
            return replace(self, rules=replace(self.rules, rules=frozenset(kept | rules)))
        ids = {parse_id(word, text) for text in texts}
        for each in ids:
            if each.kind == "pid":
                check_process(int(each.value))
        values = {(each.kind, each.value) for each in ids}
        return replace(self, ids=frozenset({one for one in self.ids if (one.kind, one.value) not in values} | ids))

    def without_values(self, word: str, texts: Iterable[str], containers: Sequence[Container]) -> TrackSets:
        """Return the sets without these values of a kind, or without all of them if none is named.

        :raises SelectionError: for one that is not in the set.
        :raises UsageError: for a kind or a value that cannot be.
        """
        texts = tuple(texts)
        if word in FLAGS:
            return self._with_flag(word, texts, value=False)
        if word not in kind_words():
            raise _unknown(word)
        shown = self.listing().get(word, ())
        gone = set(texts or shown)
        if word in set(Property) and texts:
            gone = {str(_resolve(ContainerRule.parse(Property(word), text), containers)) for text in texts}
        elif word in KINDS:
            gone = {str(parse_id(word, text)) for text in gone}
        if missing := sorted(gone - set(shown)):
            raise SelectionError(f"{word} {missing[0]} is not tracked", hint="boxtrace track --list")
        if word == _CGROUP:
            return replace(self, cgroups=tuple(text for text in self.cgroups if text not in gone))
        if word in set(Property):
            kept = {rule for rule in self.rules.rules if not (rule.about == word and str(rule) in gone)}
            return replace(self, rules=replace(self.rules, rules=frozenset(kept)))
        return replace(self, ids=frozenset(one for one in self.ids if not (one.kind == word and str(one) in gone)))

    def _with_flag(self, word: str, texts: Sequence[str], *, value: bool) -> TrackSets:
        if texts:
            raise UsageError(f"{word} has no values")
        return replace(
            self,
            rules=replace(
                self.rules,
                new=value if word == "new-containers" else self.rules.new,
                host_only=value if word == "host-only" else self.rules.host_only,
            ),
        )

    def listing(self) -> dict[str, list[str]]:
        """Return what each kind's set has, as it would be written in a command; kinds without a set are left out."""
        found: dict[str, list[str]] = {
            str(about): sorted(str(rule) for rule in self.rules.rules if rule.about is about) for about in Property
        }
        found[_CGROUP] = sorted(self.cgroups)
        found |= {word: sorted(str(each) for each in self.ids if each.kind == word) for word in KINDS}
        flags: dict[str, list[str]] = {word: [] for word, name in FLAGS.items() if getattr(self.rules, name)}
        return {word: values for word, values in found.items() if values} | flags


def _unknown(word: str) -> UsageError:
    return UsageError(f"{word!r} is nothing that is tracked", hint=f"one of: {', '.join(kind_words())}")


def _without_sign(rule: ContainerRule) -> ContainerRule:
    return replace(rule, excluded=False)


def _resolve(rule: ContainerRule, containers: Sequence[Container]) -> ContainerRule:
    """Make sure that a word which names one container names one that runs, and this one only."""
    if rule.about is not Property.CONTAINER or is_glob(rule.pattern) or rule.excluded:
        return rule
    container = match(rule.pattern, containers)
    if container.init_pid is None:
        raise SelectionError(f"container {container.name!r} is not running ({container.state})")
    return rule if rule.pattern == container.name else replace(rule, pattern=container.id)


class Tracking:
    """The sets of a running recording, and its channels that are told of them.

    :param known: returns the containers that there are now.
    """

    def __init__(
        self, sets: TrackSets, targets: Targets, channels: Sequence[Channel], known: Callable[[], Sequence[Container]]
    ) -> None:
        self._newborns = bool(targets.rules)
        """Whether the programs know of births: as it was when they were loaded."""
        self._sets = sets
        self.targets = targets
        """What the sets mean at this moment."""
        self._channels = channels
        self._known = known

    def rules(self) -> ContainerRules:
        """Return which containers are wanted now."""
        return self._sets.rules

    def refresh(self, running: Sequence[Container]) -> None:
        """Take it that these containers run now."""
        self._select(self._sets, running)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a command: ``track`` or ``untrack`` with ``kind`` and ``values``, or ``tracked``.

        :raises BoxtraceError: if it means nothing; the sets are what they were.
        """
        word, values = request.get("kind", ""), request.get("values", [])
        if not isinstance(word, str) or not isinstance(values, list) or not all(isinstance(x, str) for x in values):
            raise UsageError("a kind is text, values are a list of texts")
        if request["command"] != "tracked":
            if word not in kind_words():
                raise _unknown(word)
            change = self._sets.with_values if request["command"] == "track" else self._sets.without_values
            self._apply(change(word, values, self._known()))
        return {"sets": self._sets.listing(), "notes": self.notes()}

    def notes(self) -> list[str]:
        """Return what is not as the sets might make one expect: a sentence each."""
        found = [_LATE] if self._is_late(self._sets) else []
        asked = any(rule.about is Property.LABEL for rule in self._sets.rules.rules)
        if asked and not Podman.addresses() and any(each.runtime == Podman.name for each in self._known()):
            found.append(_NO_LABELS)
        return found

    def take_latecomers(self) -> None:
        """Take, or leave out, who has started, where the programs do not know of births.

        :raises SelectionError: for a container that cannot be told from others; nothing changes then.
        """
        if self._is_late(self._sets):
            self._select(self._sets, self._running())

    def _is_late(self, sets: TrackSets) -> bool:
        return not self._newborns and newborn_policy(sets.rules) is not Newborn.NOTHING

    def _running(self) -> Sequence[Container]:
        return [container for container in self._known() if container.init_pid is not None]

    def _apply(self, sets: TrackSets) -> None:
        sets.rules.check()
        if sets.rules.new and not self._newborns:
            raise UsageError(
                "this recording cannot be limited to new containers: it began without a selection of containers",
                hint="begin another one with boxtrace record --new-containers",
            )
        find_pid_namespaces(
            int(each.value) for each in sets.ids - self._sets.ids if each.kind == "pid-ns" and not each.excluded
        )
        self._select(sets, self._running())

    def _select(self, sets: TrackSets, running: Sequence[Container]) -> None:
        before = self.targets.selection
        targets = make_targets(
            sets,
            running,
            follow=before.follow,
            command=before.command,
            hierarchy=self.targets.hierarchy,
            newborns=self._newborns,
        )
        for channel in self._channels:
            channel.programs.selector.select(targets.selection)
        self._sets, self.targets = sets, targets


def make_targets(
    sets: TrackSets,
    running: Sequence[Container],
    *,
    follow: bool,
    command: bool,
    hierarchy: str | None = None,
    newborns: bool = True,
) -> Targets:
    """Find out what sets mean now, see :func:`~boxtrace.session.targets.select_targets`."""
    return select_targets(
        sets.rules,
        running,
        cgroups=sets.cgroups,
        ids=sets.ids,
        follow=follow,
        command=command,
        hierarchy=hierarchy,
        newborns=newborns,
    )
