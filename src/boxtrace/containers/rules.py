"""Which containers are wanted: by name, id, image and label, included and excluded. Without access to the system."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from boxtrace.containers.model import Container
from boxtrace.errors import UsageError

__all__ = ["ContainerRule", "ContainerRules", "Property", "is_glob"]

_LEAST_PREFIX = 4
"""Characters of an id that stand for it, where it cannot be checked that no other begins with them."""


class Property(StrEnum):
    """What a rule is about."""

    CONTAINER = "container"
    IMAGE = "image"
    LABEL = "label"


def is_glob(text: str) -> bool:
    """Tell whether a text stands for others, too."""
    return any(character in text for character in "*?[")


@dataclass(frozen=True, slots=True)
class ContainerRule:
    """A property that containers have or have not.

    :ivar pattern: of a name (``web-*``, ``docker:web``) or an id; of an image; ``KEY`` or ``KEY=PATTERN`` of a label.
    :ivar excluded: those that have it are not wanted.
    """

    about: Property
    pattern: str
    excluded: bool = False

    @classmethod
    def parse(cls, about: Property, text: str) -> ContainerRule:
        """Make a rule of ``PATTERN`` or ``!PATTERN``.

        :raises UsageError: for a pattern that is empty.
        """
        pattern = text.removeprefix("!")
        if not pattern:
            raise UsageError(f"--{about} {text!r}: a name is not empty")
        return cls(about, pattern, text.startswith("!"))

    def __str__(self) -> str:
        return f"{'!' if self.excluded else ''}{self.pattern}"

    def matches(self, container: Container) -> bool:
        """Tell whether a container has the property."""
        if self.about is Property.IMAGE:
            return container.image is not None and _image_matches(container.image, self.pattern)
        if self.about is Property.LABEL:
            key, equals, pattern = self.pattern.partition("=")
            value = container.labels.get(key)
            return value is not None and (not equals or fnmatchcase(value, pattern))
        runtime, colon, rest = self.pattern.partition(":")
        words = [self.pattern, *([rest] if colon and container.runtime == runtime else [])]
        return any(_is_named(container, word) for word in words if word)


def _is_named(container: Container, word: str) -> bool:
    if fnmatchcase(container.name, word) or container.id == word:
        return True
    return not is_glob(word) and len(word) >= _LEAST_PREFIX and container.id.startswith(word)


def _image_matches(image: str, pattern: str) -> bool:
    """Compare with the name as the runtime gives it, and without registry and tag: ``nginx`` is any of its versions."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    bare = head if colon and "/" not in tag else name
    return any(fnmatchcase(text, pattern) for text in (image, name, bare, bare.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class ContainerRules:
    """All rules of a recording about containers.

    As with all that a recording can be limited to, each property is a question of its own, and a container is wanted if
    all that are asked are answered by yes: it matches one of the rules that include (or there is none), and none that
    excludes.

    :ivar new: containers that start while recording are wanted, whatever they are called.
    :ivar host_only: no container is wanted.
    """

    rules: frozenset[ContainerRule] = field(default_factory=frozenset)
    new: bool = False
    host_only: bool = False

    def __bool__(self) -> bool:
        return bool(self.rules) or self.new or self.host_only

    def check(self) -> None:
        """Check that the rules go together.

        :raises UsageError: if they do not.
        """
        if self.host_only and (self.new or any(not rule.excluded for rule in self.rules)):
            raise UsageError("--host-only means no container, and others of the options mean some")

    @property
    def including(self) -> bool:
        """Whether only what is included is wanted: nothing outside of containers, then."""
        return self.new or any(not rule.excluded for rule in self.rules)

    @property
    def may_match_later(self) -> bool:
        """Whether containers that are not born yet may be wanted, by names that are not known yet."""
        return self.new or any(
            rule.about is not Property.CONTAINER or is_glob(rule.pattern) for rule in self.rules if not rule.excluded
        )

    @property
    def may_match(self) -> bool:
        """Whether it depends on a later container's name, image or labels whether it is wanted."""
        return self.may_match_later or any(rule.excluded for rule in self.rules)

    def wants(self, container: Container) -> bool:
        """Tell whether a container that starts while recording is wanted."""
        said = self.says(container)
        return not self.including if said is None else said

    def says(self, container: Container) -> bool | None:
        """Tell the verdict about a container that starts while recording; None where nothing is said of it."""
        verdict = self.verdict(container)
        return True if verdict is None and self.new else verdict

    def verdict(self, container: Container) -> bool | None:
        """Tell whether a container is wanted: True or False if it is said, None where nothing is said of it.

        A container of which nothing is said is like what is around it.
        """
        if self.host_only or any(rule.excluded and rule.matches(container) for rule in self.rules):
            return False
        asked = {rule.about for rule in self.rules if not rule.excluded}
        met = {rule.about for rule in self.rules if not rule.excluded and rule.matches(container)}
        return True if asked and asked == met else None
