"""Which container a user means by a word: pure, without access to the system."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from boxtrace.containers.model import Container
from boxtrace.errors import ContainerNotFoundError, SelectionError

__all__ = ["match"]

_Test = Callable[[Container, str], bool]

# The first test that any container passes decides. A prefix of an id and one of a name are of one rank: "de" must not
# silently mean an id where a name begins with it, too.
_RANKS: tuple[_Test, ...] = (
    lambda container, word: container.name == word,
    lambda container, word: container.id == word,
    lambda container, word: container.id.startswith(word) or container.name.startswith(word),
)


def match(word: str, containers: Sequence[Container]) -> Container:
    """Return the container of which *word* is the name, the id, or the only possible beginning of either.

    ``RUNTIME:WORD`` looks only among the containers of that runtime. Of those with one name the outermost is meant.

    :raises ContainerNotFoundError: there is none; carries the names that look like the word.
    :raises SelectionError: there are several.
    """
    runtime, colon, rest = word.partition(":")
    for rank in _RANKS:
        found = [container for container in containers if word and rank(container, word)]
        if colon and rest:
            found += [container for container in containers if container.runtime == runtime and rank(container, rest)]
        if len(found) > 1:
            # Of containers with the same name, one that runs is meant rather than those that are over.
            found = [container for container in found if container.init_pid is not None] or found
        if len({container.name for container in found}) == 1:
            # One inside another may be called like one of the host: the outermost is meant.
            least = min(len(container.pid_ns_ancestors) for container in found)
            found = [container for container in found if len(container.pid_ns_ancestors) == least]
        if len(found) == 1:
            return found[0]
        if found:
            raise SelectionError(
                f"{word!r} may mean {_listed(found)}", hint="give the full name or id, or RUNTIME:NAME"
            )
    raise ContainerNotFoundError(word, near=_near(word, containers))


def _listed(containers: Iterable[Container]) -> str:
    return " or ".join(f"{container.runtime}:{container.name} ({container.short_id})" for container in containers)


def _near(word: str, containers: Sequence[Container]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for container in containers:
        for text in (container.name, container.short_id):
            names.setdefault(text.lower(), text)
    return tuple(names[text] for text in difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.5))
