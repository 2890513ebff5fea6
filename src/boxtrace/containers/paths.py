"""How runtimes name the cgroups of their containers: data, by which a path may be recognised as a container's.

A path alone never makes a container: what it may mean counts only where a runtime told of a container with that id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["NAME_FORMS", "named_by", "possible_ids"]

NAME_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "docker": ("{id}", "docker-{id}.scope"),
    "podman": ("libpod-{id}", "libpod-{id}.scope", "libpod-payload-{id}"),
    "cri-o": ("crio-{id}", "crio-{id}.scope"),
    "containerd": ("{id}", "cri-containerd-{id}.scope", "nerdctl-{id}.scope", "{parent}:cri-containerd:{id}"),
    "lxc": ("lxc.payload.{id}", "lxc.payload.{id}-{number}", "lxc.{id}"),
    "systemd-nspawn": ("machine-{id}.scope", "systemd-nspawn@{id}.service", "payload-{id}"),
    "runc": ("{id}", "runc-{id}.scope"),
    "crun": ("{id}", "crun-{id}", "crun-{id}.scope"),
}
"""Last component of a container's cgroup by runtime, both with systemd's names and with plain ones. Podman, CRI-O and
containerd give their names to the runtimes below them, too. Sources: the runtimes' documentation, and the paths in
tests/unit/containers/test_paths.py."""

_PARTS = {"id": r"(?P<id>[A-Za-z0-9][A-Za-z0-9_.+:@-]*?)", "number": r"\d+", "parent": r"[^/:]+"}
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def _compile(form: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", form)
    return re.compile("".join(_PARTS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts)))


_FORMS = {runtime: tuple(map(_compile, forms)) for runtime, forms in NAME_FORMS.items()}
_ABOVE = frozenset({"podman", "cri-o", "containerd", "docker"})


def named_by(path: str) -> tuple[str, str] | None:
    """Return runtime and id where the name of a path's innermost part that has one leaves no doubt; else None.

    Only for what is known to be a container: it is named by this where its runtime told nothing.
    """
    for component in reversed(path.split("/")):
        name = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), component)
        for runtime, forms in _FORMS.items():
            for text, form in zip(NAME_FORMS[runtime], forms, strict=True):
                match = None if text == "{id}" else form.fullmatch(name)
                if match is not None:
                    return runtime, match["id"]
    return None


def possible_ids(path: str) -> Iterator[tuple[str, str]]:
    """Yield whose cgroup a path may be or lie in, the innermost first: runtime, id.

    What runc and crun run for a manager bears the manager's name: such an id is yielded for them, too.
    """
    for component in reversed(path.split("/")):
        name = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), component)
        found: dict[tuple[str, str], None] = {}
        for runtime, forms in _FORMS.items():
            for form in forms:
                match = form.fullmatch(name)
                if match is None:
                    continue
                for whose in (runtime, *(("runc", "crun", "containerd") if runtime in _ABOVE else ())):
                    found[whose, match["id"]] = None
        yield from found
