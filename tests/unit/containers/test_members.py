from boxtrace.containers.members import owns_pid_ns, parent
from boxtrace.containers.model import CGROUP2, Cgroup, Container, Namespaces
from boxtrace.units import NamespaceInum, Nanoseconds

HOST = 1


def container(name: str, *pid_namespaces: int, cgroup: str = "/") -> Container:
    chain = tuple(NamespaceInum(number) for number in pid_namespaces)
    zero = NamespaceInum(0)
    return Container(
        "docker",
        name,
        name,
        "running",
        namespaces=Namespaces(zero, zero, zero, zero, chain[0], zero, zero, zero),
        pid_ns_ancestors=chain[1:],
        birth=Nanoseconds(1),
        cgroups=(Cgroup(CGROUP2, cgroup),),
    )


OUTER = container("outer", 10, HOST, cgroup="/outer")
MIDDLE = container("middle", 20, 10, HOST, cgroup="/outer/middle")
INNER = container("inner", 30, 20, 10, HOST)
SHARING = container("sharing", 10, HOST, cgroup="/outer/sharing")
HOST_PID = container("host", HOST, cgroup="/host")
SKIPPING = container("skipping", 50, 40, 10, HOST)  # between it and the outer one lies a namespace nobody owns
ALL = [OUTER, MIDDLE, INNER, SHARING, HOST_PID, SKIPPING]


def test_parent_is_the_innermost_around() -> None:
    parents = {item.name: around and around.name for item in ALL for around in [parent(item, ALL)]}
    assert parents == {
        "outer": None,
        "middle": "outer",
        "inner": "middle",
        "sharing": "outer",
        "host": None,
        "skipping": "outer",
    }


def test_pid_namespace_is_own_unless_shared() -> None:
    assert [item.name for item in ALL if owns_pid_ns(item, ALL)] == ["middle", "inner", "skipping"]
    assert owns_pid_ns(OUTER, [OUTER, MIDDLE])
