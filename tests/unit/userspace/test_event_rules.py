"""Rules of event types: the last that matches decides."""

from __future__ import annotations

import pytest

from boxtrace.userspace.rules import EventRules


@pytest.mark.parametrize(
    ("patterns", "enabled"),
    [
        ((), ""),
        (("app:*",), "app:a app:b"),
        (("app:*", "!app:b"), "app:a"),
        (("!app:b", "app:*"), "app:a app:b"),
        (("!app:b",), "app:a other:c"),
        (("!*",), ""),
        (("!*", "app:a"), "app:a"),
        (("app:*", "*"), "app:a app:b other:c"),
    ],
)
def test_what_is_enabled(patterns: tuple[str, ...], enabled: str) -> None:
    rules = EventRules.of(patterns)
    assert [name for name in ("app:a", "app:b", "other:c") if rules.enabled(name)] == enabled.split()


def test_a_pattern_replaces_itself_and_those_that_do_not_matter_any_more() -> None:
    rules = EventRules.of(["app:*", "lib:*"]).with_pattern("!app:*")
    assert rules.patterns == ("lib:*", "!app:*")
    assert rules.with_pattern("!*").patterns == ("!*",)
