"""What a container is, which ones this host has, and what a trace remembers of them."""

from __future__ import annotations

from boxtrace.containers.discovery import Survey, discover, find, survey
from boxtrace.containers.members import members, parent
from boxtrace.containers.model import Cgroup, Container, Identity, Namespaces
from boxtrace.containers.store import ContainerStore

__all__ = [
    "Cgroup",
    "Container",
    "ContainerStore",
    "Identity",
    "Namespaces",
    "Survey",
    "discover",
    "find",
    "members",
    "parent",
    "survey",
]
