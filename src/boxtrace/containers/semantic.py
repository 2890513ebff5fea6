"""Containers and processes under the names that other tools know them by.

OpenTelemetry: the registry of its semantic conventions (opentelemetry.io/docs/specs/semconv/registry/attributes, pages
``container``, ``k8s`` and ``process``). Prometheus: the labels and metrics of cAdvisor (github.com/google/cadvisor,
docs/storage/prometheus.md and metrics/prometheus.go); the kubelet adds ``container``, ``pod`` and ``namespace``.
Kubernetes' names come from the labels that its runtimes set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.model import Container
from boxtrace.units import Nanoseconds

__all__ = ["container_attributes", "process_attributes", "prometheus"]

Attributes: TypeAlias = "dict[str, str | int | float | list[str]]"

_POD: Final = "io.kubernetes.pod.name"
_POD_UID: Final = "io.kubernetes.pod.uid"
_NAMESPACE: Final = "io.kubernetes.pod.namespace"
_CONTAINER: Final = "io.kubernetes.container.name"
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")
_SECOND: Final = 1_000_000_000


def container_attributes(container: Container) -> Attributes:
    """Return what is known of a container under OpenTelemetry's names."""
    labels = container.labels
    name, tags, digest = _split_image(container.image)
    found: dict[str, str | int | float | list[str] | None] = {
        "container.id": container.id,
        "container.name": labels.get(_CONTAINER, container.name),
        "container.runtime.name": container.runtime,
        "container.image.name": name,
        "container.image.tags": tags or None,
        "container.image.id": container.image_digest,
        "container.image.repo_digests": [f"{name}@{digest}"] if digest else None,
        "k8s.pod.name": labels.get(_POD),
        "k8s.pod.uid": labels.get(_POD_UID),
        "k8s.namespace.name": labels.get(_NAMESPACE),
        "k8s.container.name": labels.get(_CONTAINER),
        "process.pid": container.init_pid,
        "process.linux.cgroup": None if container.cgroup is None else container.cgroup.path,
    }
    found |= {f"container.label.{key}": value for key, value in labels.items()}
    return _known(found)


def process_attributes(row: PidRow) -> Attributes:
    """Return what is known of a process, as the host sees it, under OpenTelemetry's names.

    ``process.vpid`` is its pid in its own pid namespace; ``process.real_user.id`` the host's number.
    """
    host = row.views[0] if row.views else None
    path = None if row.own is None else row.own.path
    found: dict[str, str | int | float | list[str] | None] = {
        "process.pid": row.host_pid,
        "process.vpid": row.pids[-1],
        "process.parent_pid": row.ppid or None,
        "process.executable.name": row.name,
        "process.executable.path": path,
        "process.real_user.id": None if host is None else host.uid,
        "process.creation.time": _iso(row.begin),
        "process.exit.time": _iso(row.end),
    }
    if row.container is not None:
        found["container.id"] = row.container.id
    return _known(found)


def prometheus(row: ContainerRow) -> dict[str, Attributes]:
    """Return a container's labels and metrics as cAdvisor names them; ``id`` is the path of the cgroup."""
    container, labels = row.container, row.container.labels
    cgroup = container.cgroup
    names: dict[str, str | int | float | list[str] | None] = {
        "id": None if cgroup is None else cgroup.path,
        "name": container.name,
        "image": container.image,
        "container": labels.get(_CONTAINER),
        "pod": labels.get(_POD),
        "namespace": labels.get(_NAMESPACE),
    }
    names |= {f"container_label_{_NOT_IN_LABELS.sub('_', key)}": value for key, value in labels.items()}
    metrics: dict[str, str | int | float | list[str] | None] = {
        "container_processes": row.processes,
        "container_start_time_seconds": None if row.begin is None else row.begin / _SECOND,
    }
    return {"labels": _known(names), "metrics": _known(metrics)}


def _split_image(image: str | None) -> tuple[str | None, list[str], str | None]:
    """Return name, tags and digest of a reference: a colon before the last slash is that of a registry's port."""
    if not image or image.startswith("sha256:"):
        return image, [], None
    reference, _, digest = image.partition("@")
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return reference, [], digest or None
    return name, [tag], digest or None


def _iso(time: Nanoseconds | None) -> str | None:
    if time is None:
        return None
    whole = datetime.fromtimestamp(time // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{time % _SECOND:09}Z"


def _known(found: Mapping[str, str | int | float | list[str] | None]) -> Attributes:
    return {key: value for key, value in found.items() if value is not None}
