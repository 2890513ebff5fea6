"""Counters of threads as contexts of applications' events, beside what getrusage() tells the same thread."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from boxtrace.session.user_contexts import event_contexts
from boxtrace.trace import Event, open_trace
from support.require import require_program, require_root
from support.user import Recording, build, build_python_client

Start = Callable[..., Recording]
UNKNOWN = (1 << 64) - 1
FAULTS, SWITCHES = "perf_thread_page_faults", "perf_thread_context_switches"
CONTEXTS = ("perf:thread:page-faults", "ip", "perf:thread:context-switches")
PROGRAM = """
#define _GNU_SOURCE
#include <boxtrace.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
BOXTRACE_EVENT(app, before, (uint64_t, faults), (uint64_t, switches))
BOXTRACE_EVENT(app, after, (uint64_t, faults), (uint64_t, switches))
BOXTRACE_EVENT(app, files, (uint32_t, count))
static struct rusage use(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage;
}
#define FAULTS(u) (uint64_t)((u).ru_minflt + (u).ru_majflt)
#define SWITCHES(u) (uint64_t)((u).ru_nvcsw + (u).ru_nivcsw)
static void *work(void *pages) {
    const size_t count = (size_t)pages;
    boxtrace_wait(20000);
    for (int round = 0; round < 20; round++) {
        struct rusage usage = use();
        boxtrace_app_before(FAULTS(usage), SWITCHES(usage));
        usage = use();
        boxtrace_app_after(FAULTS(usage), SWITCHES(usage));
        char *memory = mmap(NULL, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(memory, count * 4096, MADV_NOHUGEPAGE);
        for (size_t page = 0; page < count; page++)
            ((volatile char *)memory)[page * 4096] = 1;
        usleep(100);
    }
    return NULL;
}
static void count_files(void) {
    uint32_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    boxtrace_app_files(count);
}
int main(void) {
    work((void *)16);
    count_files();
    for (int turn = 0; turn < 20; turn++) {
        pthread_t threads[2];
        for (size_t i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, work, (void *)(8 * (i + 4)));
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    }
    count_files();
    if (fork() == 0) {
        work((void *)64);
        _exit(0);
    }
    wait(NULL);
    work((void *)16);
    return 0;
}
"""


def check_thread(events: list[Event]) -> None:
    """Between any two pairs of events, the counters rose as much as what the thread was told before and after."""
    pairs = list(zip(events[::2], events[1::2], strict=True))
    assert [(first.name, second.name) for first, second in pairs] == [("app:before", "app:after")] * len(pairs)
    for field, told in ((FAULTS, "faults"), (SWITCHES, "switches")):
        assert UNKNOWN not in [event[field] for event in events]
        values = [event[field] for event in events]
        assert values == sorted(values)
        for (before, after), (before_next, after_next) in pairwise(pairs):
            rose = before_next[field] - before[field]
            assert before_next[told] - after[told] <= rose <= after_next[told] - before[told]


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
@pytest.mark.parametrize("privileged", [True, False])
def test_counters_of_threads(tmp_path: Path, record_user: Start, compiler: str, privileged: bool) -> None:
    require_root()
    require_program("setpriv", "util-linux")
    (tmp_path / "program.c").write_text(PROGRAM)
    program = build(tmp_path / "program.c", tmp_path / "program", compiler=compiler)
    recording = record_user(contexts=event_contexts(CONTEXTS), ring_size=1 << 20)
    without = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    recording.run(*([] if privileged else without), str(program))
    events = recording.events()
    assert not recording.lost()
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event.name != "app:files":
            threads[event["pid"], event["tid"]].append(event)
    assert len(threads) == 42
    for found in threads.values():
        check_thread(found)
    steps = {found[2][FAULTS] - found[0][FAULTS] >= 16 for found in threads.values()}
    assert steps == {True}
    before, after = (event["count"] for event in events if event.name == "app:files")
    assert after <= before + 4, "descriptors of threads that have ended stay open"
    fields = [member.name for member in events[0].record.event.context.members]
    assert fields == ["ip", FAULTS, SWITCHES]


@pytest.mark.parametrize("pure", ["0", "1"])
def test_from_the_command_line_with_a_python_program(tmp_path: Path, pure: str) -> None:
    """The pure client has no place in a program to tell."""
    require_root()
    client = build_python_client(tmp_path / "client")
    text = "import boxtrace_client as b\nfor n in range(3): b.Event('app:step', n=b.U32)(n)\n"
    command = [sys.executable, "-m", "boxtrace", "record", "-q", "-o", tmp_path / "trace", "--user", "app:*"]
    command += ["-e", "syscall_entry_getppid", "--no-state-dump", "--user-context", "ip,perf:thread:task-clock"]
    command += ["--", "env", f"PYTHONPATH={client}", f"BOXTRACE_PURE={pure}", sys.executable, "-c", text]
    subprocess.run(command, check=True, timeout=60)
    events = [event for event in open_trace(tmp_path / "trace").events() if event.name == "app:step"]
    values = [event["perf_thread_task_clock"] for event in events]
    assert [event["n"] for event in events] == [0, 1, 2]
    assert [0 < event["ip"] < UNKNOWN for event in events] == [pure == "0"] * 3
    assert values == sorted(set(values)) and values[0] > 0 and values[-1] < 60e9
    view = [sys.executable, "-m", "boxtrace", "view", tmp_path / "trace", "--event", "app:step"]
    said = subprocess.run(view, check=True, capture_output=True, text=True).stdout
    assert len(re.findall(r"\bip = 0x[0-9A-F]+, perf_thread_task_clock = \d+ \}", said)) == 3


@pytest.mark.parametrize(
    ("names", "said"),
    [("tid", "no context 'tid' to choose"), ("perf:thread:nothing", "no perf counter 'nothing'")],
)
def test_contexts_that_there_are_not(tmp_path: Path, names: str, said: str) -> None:
    command = [sys.executable, "-m", "boxtrace", "record", "--user", "*", "--user-context", names]
    done = subprocess.run([*command, "-o", tmp_path / "trace", "--", "true"], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr
