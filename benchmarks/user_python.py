"""What an event of a Python program costs: ``user_python.py KIND BATCHES EVENTS``, of the kinds below."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable


def client() -> Callable[[int], None]:
    """An event with a number and a string."""
    import boxtrace_client as boxtrace

    record = boxtrace.Event("bench:python", small=boxtrace.U32, text=boxtrace.STRING).record
    return lambda n: record(n, "text")


def logger() -> Callable[[int], None]:
    """The standard way: a formatted line into a file."""
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.FileHandler("/dev/null")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    return lambda n: log.info("%d %s", n, "text")


def handler() -> Callable[[int], None]:
    """The same line, recorded by boxtrace-client's handler."""
    import boxtrace_client as boxtrace

    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(boxtrace.Handler())
    return lambda n: log.info("%d %s", n, "text")


def lttngust() -> Callable[[int], None]:
    """The same line, recorded by LTTng's agent, which connects when it is imported."""
    import lttngust  # type: ignore[import-not-found]

    assert lttngust
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    time.sleep(0.5)
    return lambda n: log.info("%d %s", n, "text")


def nothing() -> Callable[[int], None]:
    """A call of a function."""
    return lambda n: None


KINDS = {
    "client": client,
    "handler": handler,
    "lttngust": lttngust,
    "logging": logger,
    "nothing": nothing,
}


def main(kind: str, batches: int, events: int) -> None:
    record = KINDS[kind]()
    for _ in range(batches):
        begin = time.perf_counter_ns()
        for n in range(events):
            record(n)
        print((time.perf_counter_ns() - begin) / events)
        time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
