"""What user_program.c does, in Python."""

import os
import threading
import time

import boxtrace_client as boxtrace

inside = boxtrace.Event("app:inside", round=boxtrace.U32)


def work() -> None:
    while not inside.enabled:
        time.sleep(0.01)
    for number in range(20):
        os.getpgid(0)
        inside(number)
        os.getppid()
        time.sleep(0.001)


if __name__ == "__main__":
    thread = threading.Thread(target=work)
    thread.start()
    work()
    thread.join()
    time.sleep(1000)
