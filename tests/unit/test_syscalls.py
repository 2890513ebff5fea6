"""The catalogue of system calls."""

from __future__ import annotations

import pytest

from boxtrace.kernel.syscalls import Abi, Argument, Syscall, load_arguments, syscall_table
from boxtrace.kernel.syscalls.types import CInteger, c_integer


@pytest.fixture(scope="module")
def tables() -> dict[Abi, dict[int, Syscall]]:
    """Tables from the shipped descriptions alone."""
    return {abi: syscall_table(abi, {}) for abi in Abi}


@pytest.mark.parametrize(
    ("abi", "number", "name"),
    [
        (Abi.X86_64, 0, "read"),
        (Abi.X86_64, 4, "newstat"),
        (Abi.X86_64, 40, "sendfile64"),
        (Abi.X86_64, 63, "newuname"),
        (Abi.X86_64, 166, "umount"),
        (Abi.X86_64, 257, "openat"),
        (Abi.X86_64, 450, "set_mempolicy_home_node"),
        (Abi.I386, 20, "getpid"),
        (Abi.I386, 18, "stat"),
        (Abi.I386, 106, "newstat"),
        (Abi.I386, 22, "oldumount"),
        (Abi.I386, 24, "getuid16"),
        (Abi.I386, 199, "getuid"),
        (Abi.I386, 90, "old_mmap"),
        (Abi.I386, 140, "llseek"),
        (Abi.I386, 192, "mmap_pgoff"),
        (Abi.I386, 240, "futex_time32"),
        (Abi.I386, 422, "futex"),
        (Abi.I386, 403, "clock_gettime"),
        (Abi.AARCH64, 56, "openat"),
        (Abi.AARCH64, 80, "newfstat"),
        (Abi.AARCH64, 173, "getppid"),
        (Abi.AARCH64, 223, "fadvise64_64"),
        (Abi.ARM, 192, "mmap2"),
        (Abi.ARM, 341, "sync_file_range2"),
    ],
)
def test_numbers_have_the_name_of_the_kernel_function(
    tables: dict[Abi, dict[int, Syscall]], abi: Abi, number: int, name: str
) -> None:
    assert tables[abi][number].name == name


def test_every_call_has_a_description_and_its_own_name(tables: dict[Abi, dict[int, Syscall]]) -> None:
    for abi, table in tables.items():
        names = [call.name for call in table.values()]
        assert len(set(names)) == len(names), abi
        assert not [call.name for call in table.values() if any(a.name == "arg0" for a in call.arguments)]
        for call in table.values():
            fields = [argument.name for argument in call.arguments]
            assert len(set(fields)) == len(fields) <= 6, call
            assert all(argument.size <= abi.word for argument in call.arguments), call


def test_numbers_that_lead_nowhere_are_unknown(tables: dict[Abi, dict[int, Syscall]]) -> None:
    assert 156 not in tables[Abi.X86_64]  # _sysctl
    assert 512 not in tables[Abi.X86_64]  # x32


def test_arguments_have_the_width_and_sign_of_their_type(tables: dict[Abi, dict[int, Syscall]]) -> None:
    assert tables[Abi.X86_64][257].arguments == (
        Argument("dfd", "int", 4, True),
        Argument("filename", "const char *", 8, False, is_pointer=True),
        Argument("flags", "int", 4, True),
        Argument("mode", "umode_t", 2, False),
    )
    assert tables[Abi.I386][295].arguments[1] == Argument("filename", "const char *", 4, False, is_pointer=True)


def test_mmap_is_as_in_lttng(tables: dict[Abi, dict[int, Syscall]]) -> None:
    call = tables[Abi.X86_64][9]
    described = [(field.name, field.size, field.signed, field.base) for field in (*call.arguments, call.result)]
    assert described == [
        ("addr", 8, False, 16),
        ("len", 8, False, 10),
        ("prot", 4, True, 10),
        ("flags", 4, True, 10),
        ("fd", 4, True, 10),
        ("offset", 8, True, 10),
        ("ret", 8, False, 16),
    ]
    assert tables[Abi.X86_64][0].result == Argument("ret", "long", 8, True)


def test_a_wide_value_takes_two_registers_of_a_32_bit_call(tables: dict[Abi, dict[int, Syscall]]) -> None:
    assert [a.name for a in tables[Abi.I386][180].arguments] == ["fd", "buf", "count", "pos_lo", "pos_hi"]
    assert [a.name for a in tables[Abi.ARM][180].arguments] == ["fd", "buf", "count", "padding", "pos_lo", "pos_hi"]


def test_order_of_clone_arguments_differs_between_machines(tables: dict[Abi, dict[int, Syscall]]) -> None:
    assert [a.name for a in tables[Abi.X86_64][56].arguments] == ["flags", "newsp", "parent_tid", "child_tid", "tls"]
    for abi, number in ((Abi.I386, 120), (Abi.AARCH64, 220), (Abi.ARM, 120)):
        assert [a.name for a in tables[abi][number].arguments] == ["flags", "newsp", "parent_tid", "tls", "child_tid"]


def test_the_running_kernel_has_the_say_over_the_shipped_description() -> None:
    call = syscall_table(Abi.X86_64, {"getppid": ("int first", "brand_new_t second")})[110]
    assert call.arguments == (Argument("first", "int", 4, True), Argument("second", "brand_new_t", 8, False))
    assert syscall_table(Abi.X86_64, {})[110].arguments == ()


@pytest.mark.parametrize(
    ("c_type", "expected"),
    [
        ("int", CInteger(4, True)),
        ("unsigned", CInteger(4, False)),
        ("unsigned int", CInteger(4, False)),
        ("const __u32", CInteger(4, False)),
        ("short unsigned int", CInteger(2, False)),
        ("long int", CInteger(8, True)),
        ("long unsigned int", CInteger(8, False)),
        ("size_t", CInteger(8, False)),
        ("ssize_t", CInteger(8, True)),
        ("const clockid_t", CInteger(4, True)),
        ("enum landlock_rule_type", CInteger(4, False)),
        ("const void *const", CInteger(8, False, pointer=True)),
        ("cap_user_data_t", CInteger(8, False, pointer=True)),
        ("struct iocb * *", CInteger(8, False, pointer=True)),
        ("brand_new_t", CInteger(8, False)),
    ],
)
def test_c_types_of_a_64_bit_machine(c_type: str, expected: CInteger) -> None:
    assert c_integer(c_type, Abi.X86_64) == expected


def test_words_are_narrow_on_a_32_bit_abi_but_fixed_types_are_not() -> None:
    assert c_integer("unsigned long", Abi.I386) == CInteger(4, False)
    assert c_integer("loff_t", Abi.I386) == CInteger(8, True)
    assert c_integer("void *", Abi.ARM) == CInteger(4, False, pointer=True)


@pytest.mark.parametrize("name", ["arguments.txt", "arguments-32bit.txt", "arguments-i386.txt", "arguments-arm.txt"])
def test_shipped_descriptions_are_of_calls_that_exist(name: str, tables: dict[Abi, dict[int, Syscall]]) -> None:
    known = {call.name for table in tables.values() for call in table.values()}
    assert set(load_arguments(name)) <= known
