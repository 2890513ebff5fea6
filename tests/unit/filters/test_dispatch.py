import struct

import pytest

from boxtrace.filters.dispatch import dispatch

ONE = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)
ZERO = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


def test_each_body_but_the_last_is_behind_a_test_of_its_number() -> None:
    def test(number: int) -> bytes:
        return struct.pack("<BBhi", 0x55, 3, 2, number)  # if r3 != number goto +2

    assert dispatch([ONE]) == ONE
    assert dispatch([ONE, ZERO, ONE]) == test(1) + ONE + test(2) + ZERO + ONE


def test_a_body_that_cannot_be_jumped_over_is_refused() -> None:
    with pytest.raises(OverflowError):
        dispatch([ONE * 20000, ZERO])
