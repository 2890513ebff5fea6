from dataclasses import replace

import pytest

from boxtrace.containers.match import match
from boxtrace.containers.model import Container
from boxtrace.errors import ContainerNotFoundError, SelectionError
from boxtrace.units import NamespaceInum, Pid


def container(name: str, identifier: str, runtime: str = "docker", pid: int | None = 1) -> Container:
    return Container(runtime, identifier, name, "running" if pid else "exited", init_pid=Pid(pid) if pid else None)


HOST = [
    container("web", "a1" + "0" * 62),
    container("web-2", "a2" + "0" * 62),
    container("db", "beef" + "0" * 60),
    container("beefy", "c0" + "0" * 62),
    container("cache", "d0" + "0" * 62, pid=None),
    container("cache", "d1" + "0" * 62, runtime="podman"),
    container("twin", "e0" + "0" * 62),
    container("twin", "e1" + "0" * 62, runtime="podman"),
    container("a:b", "f0" + "0" * 62),
]


@pytest.mark.parametrize(
    ("word", "identifier"),
    [
        ("web", "a1"),  # exact, though a prefix of another
        ("web-", "a2"),
        ("a1", "a1"),
        ("a2" + "0" * 62, "a2"),
        ("db", "be"),
        ("beef0", "be"),
        ("beefy", "c0"),
        ("cache", "d1"),  # the one that runs
        ("docker:cache", "d0"),
        ("docker:twin", "e0"),
        ("podman:twin", "e1"),
        ("podman:tw", "e1"),
        ("docker:a:b", "f0"),
        ("a:b", "f0"),
    ],
)
def test_word_means_one_container(word: str, identifier: str) -> None:
    assert match(word, HOST).id[:2] == identifier


@pytest.mark.parametrize("word", ["we", "beef", "twin", "a", "docker:web-2000", "nothing", "", "docker:"])
def test_word_means_none_or_several(word: str) -> None:
    several = word in ("we", "beef", "twin", "a")
    with pytest.raises(SelectionError) as caught:
        match(word, HOST)
    assert isinstance(caught.value, ContainerNotFoundError) != several


def test_outermost_of_one_name_is_meant() -> None:
    around = NamespaceInum(1)
    inner = replace(container("web", "b1" + "0" * 62), pid_ns_ancestors=(NamespaceInum(2), around))
    outer = replace(HOST[0], pid_ns_ancestors=(around,))
    assert match("web", [inner, outer]) is outer
    assert match("b1", [inner, outer]) is inner
    with pytest.raises(SelectionError, match="may mean"):
        match("we", [inner, replace(outer, name="wet")])


def test_near_names_are_told() -> None:
    with pytest.raises(ContainerNotFoundError) as caught:
        match("cachee", HOST)
    assert caught.value.near == ("cache",)
    assert "did you mean 'cache'?" in str(caught.value)
