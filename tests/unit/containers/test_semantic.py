"""Names that other tools know."""

import pytest

from boxtrace.containers.listing import ContainerRow, PidRow
from boxtrace.containers.model import CGROUP2, Cgroup, Container
from boxtrace.containers.semantic import container_attributes, process_attributes, prometheus
from boxtrace.containers.views import View
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

LABELS = {
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.uid": "f00d",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.container.name": "web",
    "tier": "front",
}
POD = Container(
    "cri-o", "x" * 64, "k8s_web", "running", labels=LABELS, image="registry:5000/shop/web:1.2@sha256:aa",
    image_digest="sha256:bb", init_pid=Pid(7), cgroups=(Cgroup(CGROUP2, "/kubepods/pod1/x"),),
)  # fmt: skip


def test_opentelemetry_names_of_a_container() -> None:
    assert container_attributes(POD) == {
        "container.id": "x" * 64,
        "container.name": "web",
        "container.runtime.name": "cri-o",
        "container.image.name": "registry:5000/shop/web",
        "container.image.tags": ["1.2"],
        "container.image.id": "sha256:bb",
        "container.image.repo_digests": ["registry:5000/shop/web@sha256:aa"],
        "k8s.pod.name": "web-0",
        "k8s.pod.uid": "f00d",
        "k8s.namespace.name": "shop",
        "k8s.container.name": "web",
        "process.pid": 7,
        "process.linux.cgroup": "/kubepods/pod1/x",
        **{f"container.label.{key}": value for key, value in LABELS.items()},
    }


@pytest.mark.parametrize(
    ("image", "name", "tags"),
    [
        ("redis:7", "redis", ["7"]),
        ("redis", "redis", None),
        ("localhost:5000/redis", "localhost:5000/redis", None),
        ("sha256:0123", "sha256:0123", None),
        (None, None, None),
    ],
)
def test_an_image_s_name_has_no_tag(image: str | None, name: str | None, tags: list[str] | None) -> None:
    found = container_attributes(Container("docker", "x", "web", "running", image=image))
    assert (found.get("container.image.name"), found.get("container.image.tags")) == (name, tags)


def test_prometheus_names_of_a_container() -> None:
    found = prometheus(ContainerRow(POD, None, 3, begin=Nanoseconds(1_500_000_000)))
    labels = found["labels"]
    assert (labels["id"], labels["name"], labels["pod"]) == ("/kubepods/pod1/x", "k8s_web", "web-0")
    assert (labels["container"], labels["namespace"]) == ("web", "shop")
    assert labels["container_label_io_kubernetes_pod_name"] == "web-0"
    assert found["metrics"] == {"container_processes": 3, "container_start_time_seconds": 1.5}


def test_opentelemetry_names_of_a_process() -> None:
    views = (View(None, 500, 100_033, 100_033, "/merged/bin/sh"), View(POD, 1, 33, 33, "/bin/sh"))
    row = PidRow(
        "sh", (500, 1), 1, NamespaceInum(100), ppid=3, container=POD, views=views, begin=Nanoseconds(1_000_000_007)
    )
    assert process_attributes(row) == {
        "process.pid": 500,
        "process.vpid": 1,
        "process.parent_pid": 3,
        "process.executable.name": "sh",
        "process.executable.path": "/bin/sh",
        "process.real_user.id": 100_033,
        "process.creation.time": "1970-01-01T00:00:01.000000007Z",
        "container.id": "x" * 64,
    }
