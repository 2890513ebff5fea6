"""Which newborns are looked at when something is told, and what is found of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boxtrace.containers.model import Container, Namespaces
from boxtrace.session import candidates
from boxtrace.session.candidates import Candidate, Told, Waiting
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

ID = "ab" * 32


def newborn(number: int, cgroup: str = "") -> Candidate:
    """Return one in a pid namespace of its own, as the number says."""
    return Candidate(
        tag=2 * number,
        before=0,
        pid=Pid(number),
        time=Nanoseconds(1),
        in_host_root=False,
        start=Nanoseconds(number),
        namespaces=spaces(number),
        cgroups=("", cgroup),
    )


def spaces(number: int) -> Namespaces:
    return Namespaces(*(NamespaceInum(number if name == "pid" else 7) for name in Namespaces.names()))


def seen(number: int, name: str = "web") -> Container:
    """Return the container of such a newborn, which was looked at while it lived."""
    return Container(
        "docker",
        f"{number:064x}",
        name,
        "running",
        init_pid=Pid(number),
        namespaces=spaces(number),
        birth=Nanoseconds(number),
    )


def test_what_is_told_of_one_has_no_other_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting()
    for number in range(1, 1001):
        waiting.add(newborn(number))
    assert [each.tag for each in waiting.take_due()] == list(range(2, 2002, 2))
    compared = []
    monkeypatch.setattr(candidates, "is_same", lambda *pair: compared.append(pair) or True)
    waiting.notice([seen(500)])
    assert [each.tag for each in waiting.take_due()] == [1000]
    assert len(compared) == 1
    assert not waiting.take_due()


def test_one_that_nobody_saw_alive_is_found_by_its_cgroup() -> None:
    waiting = Waiting()
    waiting.add(newborn(1, "docker-" + ID + ".scope"))
    waiting.add(newborn(2, "other"))
    waiting.take_due()
    waiting.notice([Container("docker", ID, "web", "exited")])
    assert [each.tag for each in waiting.take_due()] == [2]


def test_told_has_not_all_compared_with_a_newborn(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    for number in range(1000):
        told.add(Container("docker", f"{number:064x}", "web", "exited"))
        told.add(Container("crun", f"web-{number}", f"web-{number}", "exited"))
    same = candidates.is_same
    compared = []
    monkeypatch.setattr(candidates, "is_same", lambda *pair: compared.append(pair) or same(*pair))
    for cgroup, identifier in ((f"x{77:064x}y", f"{77:064x}"), ("crun-web-5.scope", "web-5"), ("web-6", "web-6")):
        found = told.of(newborn(1, cgroup))
        assert found is not None
        assert found.id == identifier
    assert told.of(newborn(1, "other")) is None
    assert len(compared) == 3


def test_one_that_waits_is_found_by_either_name() -> None:
    waiting = Waiting()
    for number, cgroup in enumerate((f"x{ID}y", "crun-web.scope", "web"), 1):
        waiting.add(newborn(number, cgroup))
    waiting.take_due()
    waiting.notice([Container("docker", ID, "web", "exited")])
    assert [each.tag for each in waiting.take_due()] == [2]
    waiting.notice([Container("crun", "web", "web", "exited")])
    assert [each.tag for each in waiting.take_due()] == [4, 6]
    waiting.remove(4)
    waiting.notice([Container("crun", "web", "web", "exited")])
    assert [each.tag for each in waiting.take_due()] == [6]


def test_all_are_looked_at_on_request_but_those_that_were_removed() -> None:
    waiting = Waiting()
    for number in (1, 2, 3):
        waiting.add(newborn(number))
    waiting.remove(4)
    waiting.remove(4)
    assert len(waiting) == 2
    assert [each.tag for each in waiting.take_due()] == [2, 6]
    waiting.notice_all()
    assert [each.tag for each in waiting.take_due()] == [2, 6]
    assert not list(waiting.inside(NamespaceInum(2)))


def test_told_finds_what_was_told_last() -> None:
    told = Told()
    child = newborn(5, ID)
    assert told.of(child) is None
    told.add(Container("docker", f"{5:064x}", "web", "created"))
    assert told.of(child) is None
    for container in (seen(5), seen(5, "renamed"), seen(6)):
        told.add(container)
    assert told.of(child) == seen(5, "renamed")
    told.add(replace(seen(5), namespaces=None, birth=None))
    assert told.of(child) is None


def test_told_prefers_who_has_a_name() -> None:
    told = Told()
    below = replace(seen(5), runtime="runc", name=seen(5).id[:12])
    for container in (below, seen(5)):
        told.add(container)
    assert told.of(newborn(5)) == seen(5)
