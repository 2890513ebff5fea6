"""Paths of one mount namespace in another."""

import pytest

from boxtrace.containers.mounts import Mount, MountTable, kernel_device, parse_mount, read_mounts, translate

DISK, OVERLAY, DATA, PROC = 1, 2, 3, 4
HOST = MountTable(
    [
        Mount(DISK, "/", "/"),
        Mount(PROC, "/", "/proc"),
        Mount(OVERLAY, "/", "/var/lib/docker/overlay2/x/merged"),
        Mount(DATA, "/", "/srv"),
        Mount(DATA, "/old", "/hidden"),
        Mount(DISK, "/empty", "/hidden"),
    ]
)
CONTAINER = MountTable(
    [
        Mount(OVERLAY, "/", "/"),
        Mount(PROC, "/", "/proc"),
        Mount(DATA, "/shop", "/data"),
        Mount(DISK, "/etc/hosts", "/etc/hosts"),
        Mount(9, "/", "/dev/shm"),
    ]
)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("/usr/bin/redis-server", "/var/lib/docker/overlay2/x/merged/usr/bin/redis-server"),
        ("/", "/var/lib/docker/overlay2/x/merged"),
        ("/data/a/b", "/srv/shop/a/b"),
        ("/data", "/srv/shop"),
        ("/database", "/var/lib/docker/overlay2/x/merged/database"),
        ("/etc/hosts", "/etc/hosts"),
        ("/data/../data/x", "/srv/shop/x"),
        ("/dev/shm/x", None),
        ("relative", None),
    ],
)
def test_paths_of_a_container_on_the_host(inside: str, outside: str | None) -> None:
    assert translate(inside, CONTAINER, HOST) == outside


def test_what_a_later_mount_hides_cannot_be_seen() -> None:
    assert HOST.find(DATA, "/old/x") == "/srv/old/x"
    assert MountTable([Mount(DISK, "/", "/"), Mount(DATA, "/", "/srv")]).find(DISK, "/srv/x") is None


def test_outside_of_all_mounts_is_nothing() -> None:
    assert MountTable([]).place("/x") is None


def test_lines_of_mountinfo() -> None:
    found = parse_mount(r"36 35 98:1 /a\040b /mnt/c\134d rw master:1 - ext4 /dev/root rw,errors=continue")
    assert (found["dev"], found["root"], found["mount_point"]) == (98 << 20 | 1, "/a b", "/mnt/c\\d")
    assert kernel_device("8:1") == 8 << 20 | 1
    table = read_mounts(1)
    assert table is None or table.place("/") is not None
    assert read_mounts(0) is None
