"""Probe points of a file that the compiler made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxtrace.errors import UsageError
from boxtrace.kernel.elf import find_functions, find_markers
from support.require import require_program

SOURCE = """
#include <sys/sdt.h>
void exported(long wide, unsigned char narrow, short s) {
    DTRACE_PROBE(first, none);
    DTRACE_PROBE3(first, three, wide, narrow, s);
    DTRACE_PROBE1(second, twice, narrow);
    DTRACE_PROBE1(second, twice, (int)s);
}
static __attribute__((noinline, used)) void hidden(void) {}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("elf")
    (directory / "source.c").write_text(SOURCE)
    compiler = require_program("cc", "gcc")
    command = [compiler, "-O1", "-shared", "-fPIC", directory / "source.c", "-o", directory / "library.so"]
    subprocess.run(command, check=True)
    descriptor = os.open(directory / "library.so", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_markers_with_the_widest_type_of_each_argument(library: int) -> None:
    found = {marker: [(kind.size, kind.signed) for kind in kinds] for marker, kinds in find_markers(library).items()}
    assert found == {
        ("first", "none"): [],
        ("first", "three"): [(64, True), (8, False), (16, True)],
        ("second", "twice"): [(32, True)],
    }


def test_functions_exported_and_not(library: int) -> None:
    assert {"exported", "hidden"} <= find_functions(library)
    assert "printf" not in find_functions(library)


def test_what_is_no_elf_file(tmp_path: Path) -> None:
    with (tmp_path / "text").open("w+b") as file, pytest.raises(UsageError, match="not an ELF file"):
        find_functions(file.fileno())
