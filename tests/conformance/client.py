"""What the conformance suite asks a client to do, with the Python client."""

from __future__ import annotations

import os
import sys
import threading
import time

import boxtrace_client as boxtrace
from boxtrace_client import F32, F64, HEX64, I8, I16, I32, I64, STRING, U8, U16, U32, U64

COLOURS = {"RED": (-5, -1), "GREEN": 0, "BLUE": (1, 100)}
fields = boxtrace.Event(
    "conformance:fields",
    6,
    u8=U8,
    i16=I16,
    u32=U32,
    i64=I64,
    address=HEX64,
    f32=F32,
    f64=F64,
    text=STRING,
    colour=boxtrace.enumeration(I8, COLOURS),
    triple=boxtrace.array(U16, 3),
    numbers=boxtrace.sequence(I32),
    tag=STRING,
).record
count = boxtrace.Event("conformance:count", n=U64).record
large = boxtrace.Event("conformance:large", text=STRING).record


def run(number: int, pause: float = 0.0) -> None:
    for n in range(number):
        count(n)
        if pause:
            time.sleep(pause)


def main(scenario: str, number: int = 1) -> None:
    if scenario == "fields":
        fields(
            255,
            -32768,
            2**32 - 1,
            -(1 << 63),
            0xDEADBEEF,
            1.5,
            -2.25,
            "café",
            -3,
            (1, 2, 65535),
            [-1, 2**31 - 1],
            "tag",
        )
        fields(0, 0, 0, 0, 0, 0, 0, "", 100, [1, 2, 65535], (), "12345678")
    elif scenario == "count":
        run(number)
    elif scenario == "forever":
        run(1 << 62, number / 1e6)
    elif scenario == "threads":
        threads = [threading.Thread(target=run, args=(number,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    elif scenario == "fork":
        count(1)
        if os.fork() == 0:
            count(2)
            os._exit(0)
        os.wait()
        count(3)
    elif scenario == "large":
        count(1)
        large("x" * 1048575)
        count(2)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
