"""Which event types are enabled, by shell patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["EventRules"]


@dataclass(frozen=True, slots=True)
class EventRules:
    """Of the patterns that match a name the last one decides: ``!`` before it disables. What none matches is disabled.

    :param patterns: as the user would write them, see :meth:`of`.
    """

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> EventRules:
        """Return the rules that a user gives at first: when all of them disable, what they do not match is enabled."""
        given = tuple(patterns)
        rules = cls(("*",) if given and all(pattern.startswith("!") for pattern in given) else ())
        for pattern in given:
            rules = rules.with_pattern(pattern)
        return rules

    def with_pattern(self, pattern: str) -> EventRules:
        """Return the rules with one more, which comes after all others."""
        name = pattern.removeprefix("!")
        kept = () if name == "*" else tuple(each for each in self.patterns if each.removeprefix("!") != name)
        return EventRules((*kept, pattern))

    def enabled(self, name: str) -> bool:
        """Tell whether event types of a name are enabled."""
        for pattern in reversed(self.patterns):
            if fnmatchcase(name, pattern.removeprefix("!")):
                return not pattern.startswith("!")
        return False
