"""Which contexts records get: from /proc, the history of the thread, and what the client says, in any order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from boxtrace.containers.model import Namespaces
from boxtrace.units import NamespaceInum
from boxtrace.userspace.history import TaskChange, TaskHistory
from boxtrace.userspace.identity import Peer, Thread
from boxtrace.userspace.stamps import Stamps


def thread(uts: int, name: bytes = b"app", *, time_ns: int = 1, tid: int = 11) -> Thread:
    spaces = Namespaces(*map(NamespaceInum, (1, 1, 1, 1, 1, time_ns, 1, uts)))
    return Thread(name, 10, tid, 1, 10, 11, (0,) * 6, spaces)


class Source:
    """Changes that a test announces."""

    descriptors = ()

    def __init__(self) -> None:
        self.waiting: list[TaskChange | None] = []

    def read(self) -> Iterable[TaskChange | None]:
        found, self.waiting = self.waiting, []
        return found

    def close(self) -> None: ...

    def uts(self, time: int, number: int) -> None:
        self.waiting.append(TaskChange(time, 10, 11, namespaces={"uts": NamespaceInum(number)}))


def make(now: dict[str, Any]) -> tuple[Source, Stamps]:
    source = Source()
    main = replace(thread(1, b"main"), tid=10, vtid=10)
    peer = SimpleNamespace(vpids=(10,), pid=10, main=main, thread=lambda vtid: now["thread"])
    return source, Stamps(cast(Peer, peer), TaskHistory(source))


def uts(stamps: Stamps) -> int:
    assert stamps.thread is not None
    return stamps.thread.namespaces.uts


def test_before_the_first_change_a_thread_is_what_its_process_was() -> None:
    now = {"thread": thread(3, time_ns=7)}
    source, stamps = make(now)
    source.uts(100, 2)
    source.uts(200, 3)
    stamps.look(11, lambda: True)
    assert (uts(stamps), stamps.next_change) == (1, 100)
    stamps.pass_change()
    assert (uts(stamps), stamps.next_change) == (2, 200)
    stamps.pass_change()
    assert (uts(stamps), stamps.next_change) == (3, None)
    assert stamps.thread == now["thread"]


def test_what_proc_says_too_late_does_not_count() -> None:
    now = {"thread": thread(1)}
    source, stamps = make(now)
    stamps.look(11, lambda: True)
    assert (uts(stamps), stamps.next_change) == (1, None)
    now["thread"] = thread(9)  # the history tells of 2 only: 9 came when the records had been seen
    source.uts(100, 2)
    stamps.look(11, lambda: True)
    assert uts(stamps) == 1
    stamps.pass_change()
    assert uts(stamps) == 2
    source.uts(150, 9)
    stamps.look(11, lambda: True)
    assert (uts(stamps), stamps.next_change) == (2, 150)


def test_a_position_and_then_a_change() -> None:
    now = {"thread": thread(1)}
    source, stamps = make(now)
    stamps.look(11, lambda: True)
    source.uts(100, 2)
    now["thread"] = replace(thread(2), ids=(5,) * 6)
    stamps.change_at(40, 11)
    source.uts(200, 3)
    assert stamps.stop(0, 90) == 40
    assert stamps.stop(40, 90) == 90
    assert stamps.thread == now["thread"]
    stamps.look(11, lambda: True)
    stamps.pass_change()
    stamps.pass_change()
    assert uts(stamps) == 3 and stamps.next_change is None


def test_a_thread_that_has_ended_is_known_by_its_history() -> None:
    source, stamps = make({"thread": None})
    source.uts(100, 2)
    stamps.look(11, lambda: True)
    assert stamps.thread is not None and stamps.thread.tid == 11
    source, stamps = make({"thread": None})
    source.waiting.append(TaskChange(100, 77, 11, name=b"stranger"))
    stamps.look(11, lambda: True)
    assert stamps.thread is not None and (stamps.thread.tid, stamps.thread.name) == (0, b"main")


def test_after_a_loss_only_proc_tells() -> None:
    now = {"thread": thread(4)}
    source, stamps = make(now)
    source.uts(100, 2)
    source.waiting.append(None)
    stamps.look(11, lambda: True)
    assert (uts(stamps), stamps.next_change) == (4, None)


def test_a_history_is_bounded() -> None:
    source = Source()
    history = TaskHistory(source)
    for round_ in range(3):
        source.waiting += [TaskChange(round_, tid, tid, name=b"x") for tid in range(20000)]
        history.update()
    source.waiting += [TaskChange(10 + number, 5, 5, name=b"y") for number in range(1000)]
    history.update()
    assert not history.after(3, -1) and history.after(19999, -1)
    assert [change.time for change in history.after(5, 0)] == list(range(1010 - 64, 1010))
