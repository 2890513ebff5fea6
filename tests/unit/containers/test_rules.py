"""Which containers rules mean."""

from __future__ import annotations

import pytest

from boxtrace.containers.model import Container
from boxtrace.containers.rules import ContainerRule, ContainerRules, Property
from boxtrace.errors import UsageError

WEB = Container(
    "docker",
    "0123456789abcdef",
    "web-1",
    "running",
    image="registry:5000/team/nginx:1.25",
    labels={"env": "prod", "x": ""},
)
DB = Container("podman", "fedcba9876543210", "db", "running", image="postgres@sha256:11", labels={"env": "test"})
BARE = Container("unknown", "pidns-4026532000", "web-bare", "running")


def rules(*texts: str, new: bool = False, host_only: bool = False) -> ContainerRules:
    """Make rules of ``PROPERTY PATTERN``."""
    parsed = (text.partition(" ") for text in texts)
    made = frozenset(ContainerRule.parse(Property(about), pattern) for about, _, pattern in parsed)
    return ContainerRules(made, new, host_only)


@pytest.mark.parametrize(
    ("texts", "verdicts"),
    [
        (["container web-*"], (True, None, True)),
        (["container docker:web-*"], (True, None, None)),
        (["container 01234567"], (True, None, None)),
        (["container 012"], (None, None, None)),
        (["container 0*"], (None, None, None)),
        (["container db", "container web-1"], (True, True, None)),
        (["container !web-*"], (False, None, False)),
        (["container web-*", "container !web-bare"], (True, None, False)),
        (["image nginx"], (True, None, None)),
        (["image team/*"], (None, None, None)),
        (["image registry:5000/team/*"], (True, None, None)),
        (["image registry:5000/team/nginx:1.25"], (True, None, None)),
        (["image postgres"], (None, True, None)),
        (["image *"], (True, True, None)),
        (["label env"], (True, True, None)),
        (["label env=pr*"], (True, None, None)),
        (["label x="], (True, None, None)),
        (["label !env=test"], (None, False, None)),
        (["container web-*", "label env=prod"], (True, None, None)),
        (["container web-*", "image postgres"], (None, None, None)),
    ],
)
def test_verdicts(texts: list[str], verdicts: tuple[bool | None, ...]) -> None:
    made = rules(*texts)
    assert tuple(map(made.verdict, (WEB, DB, BARE))) == verdicts


def test_what_is_asked() -> None:
    assert not ContainerRules()
    assert rules("container !x") and not rules("container !x").including
    assert rules("container x").including and not rules("container x").may_match_later
    assert rules("container x*").may_match_later
    assert rules("image x").may_match_later
    assert rules(new=True).including and rules(new=True).may_match_later
    assert rules(host_only=True).verdict(WEB) is False and not rules(host_only=True).including


def test_contradictions() -> None:
    with pytest.raises(UsageError, match="host-only"):
        rules("container x", host_only=True).check()
    with pytest.raises(UsageError, match="host-only"):
        rules(new=True, host_only=True).check()
    rules("container !x", host_only=True).check()
    with pytest.raises(UsageError, match="not empty"):
        ContainerRule.parse(Property.LABEL, "!")
