import pytest

from boxtrace.cli.main import run


def explain(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(["explain", *arguments]) == 0
    return capfd.readouterr().out.splitlines()


def test_the_instructions_and_where_each_part_is_tested(capfd: pytest.CaptureFixture[str]) -> None:
    expression = "parent_tid > 2 && ($ctx.pid_ns == 4026532572 || $ctx.nice < 0) && $ctx.tid & 1"
    assert explain(capfd, expression, "-e", "sched_process_fork") == [
        "Understood as  (parent_tid > 2) && (($ctx.pid_ns == 4026532572) || ($ctx.nice < 0)) && ($ctx.tid & 1)",
        "",
        "Events         sched_process_fork",
        "Fields         parent_tid: signed integer of 32 bits",
        "               $ctx.pid_ns: unsigned integer of 32 bits",
        "               $ctx.nice: signed integer of 32 bits",
        "               $ctx.tid: signed integer of 32 bits",
        "In the kernel  ($ctx.tid & 1) != 0",
        "When reading   parent_tid > 2 (parent_tid is not known before the event is recorded)",
        "When reading   ($ctx.pid_ns == 4026532572) || ($ctx.nice < 0) "
        "($ctx.nice is not known before the event is recorded)",
        "BPF            9 instructions, at most 7 of them executed",
        "     0: r0 = *(u32 *)(r1 + 20)                      ; $ctx.tid",
        "     1: r0 <<= 32",
        "     2: r0 s>>= 32",
        "     3: r0 &= 1",
        "     4: if r0 == 0 goto 7",
        "     5: r0 = 1",
        "     6: exit",
        "     7: r0 = 0",
        "     8: exit",
    ]


def test_events_that_differ_in_their_fields_are_told_apart(capfd: pytest.CaptureFixture[str]) -> None:
    lines = explain(capfd, "fd == 3", "-e", "syscall_entry_read*")
    types = [line.partition(" fd: ")[2] for line in lines if line.startswith("Fields ")]
    assert len(set(types)) == len(types) > 1
    assert lines[-1].startswith("Never recorded, for want of a field or its type: syscall_entry_readlink")


def test_an_error_points_at_the_character(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "fd == nope", "-e", "syscall_entry_read"]) == 1
    assert capfd.readouterr().err.splitlines()[:3] == [
        "boxtrace: error: filter: syscall_entry_read has no field 'nope'",
        "  fd == nope",
        "        ^",
    ]
