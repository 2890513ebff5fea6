"""What the C client promises beyond the protocol: early and late events, signals, hosts that come and go, contexts."""

from __future__ import annotations

import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.require import require_program, require_root
from support.user import ROOT, Recording, build, resident

CONFORMANCE = ROOT / "tests/conformance/client.c"
Start = Callable[..., Recording]


@pytest.fixture(scope="session", params=["gcc", "musl-gcc"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(CONFORMANCE, tmp_path_factory.mktemp("c") / "client", compiler=request.param))


def build_text(tmp_path: Path, text: str) -> str:
    source = tmp_path / "program.c"
    source.write_text("#define _GNU_SOURCE\n#include <boxtrace.h>\n" + text)
    return str(build(source, tmp_path / "program"))


def test_an_event_before_main(program: str, record_user: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_EARLY", "1")
    recording = record_user()
    recording.run(program, "nothing")
    assert [event.name for event in recording.events()] == ["conformance:mark"]


def test_signal_handlers_amid_records(program: str, record_user: Start) -> None:
    recording = record_user(ring_size=1 << 22)
    said = recording.run(program, "signals", "300000").stdout
    names = [event.name for event in recording.events()]
    assert names.count("conformance:count") + names.count("conformance:mark") + recording.lost() == 300000 + int(said)
    assert names.count("conformance:mark") > 10


def test_hosts_come_and_go(program: str, record_user: Start) -> None:
    first = record_user("first")
    environment = first.environment()
    first.stop()
    with subprocess.Popen([program, "forever", "1000"], env=environment) as process:
        found = []
        for name in ("second", "third"):
            recording = record_user(name)
            recording.wait_for_events(200)
            recording.stop()
            found.append([event["n"] for event in recording.events()])
        process.kill()
    for numbers in found:
        assert len(numbers) > 100 and numbers == list(range(numbers[0], numbers[-1] + 1))
    assert found[0][-1] < found[1][0]


def test_namespaces_after_unshare(tmp_path: Path, record_user: Start) -> None:
    require_root()
    program = build_text(
        tmp_path,
        """
        #include <sched.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n))
        int main(void) {
            boxtrace_test_step(1);
            usleep(300000); /* until the host has seen the thread's ring: what it is before that, nobody reads */
            if (unshare(CLONE_NEWUTS))
                return 1;
            boxtrace_context_changed();
            boxtrace_test_step(2);
            if (unshare(CLONE_NEWUTS | CLONE_NEWIPC))
                return 1;
            prctl(PR_SET_NAME, "renamed");
            boxtrace_context_changed();
            boxtrace_test_step(3);
            return 0;
        }
        """,
    )
    recording = record_user(flush_seconds=60.0)
    recording.run(program)
    first, second, third = recording.events()
    own = {kind: Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in ("uts", "ipc")}
    assert (first["uts_ns"], first["ipc_ns"], first["procname"]) == (own["uts"], own["ipc"], "program")
    assert second["uts_ns"] != own["uts"] and second["ipc_ns"] == own["ipc"]
    assert third["uts_ns"] not in (own["uts"], second["uts_ns"]) and third["ipc_ns"] != own["ipc"]
    assert third["procname"] == "renamed"


def test_after_exec_it_is_another_program(tmp_path: Path, record_user: Start) -> None:
    program = build_text(
        tmp_path,
        """
        #include <unistd.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n))
        int main(int argc, char **argv) {
            boxtrace_test_step((uint32_t)argc);
            if (argc == 1)
                execl(argv[0], "other", "again", (char *)0);
            return 0;
        }
        """,
    )
    other = tmp_path / "other"
    other.symlink_to(program)
    recording = record_user()
    recording.run(program)
    first, second = recording.events()
    assert (first["n"], second["n"]) == (1, 2)
    assert first["pid"] == second["pid"]


def test_a_time_namespace(tmp_path: Path, program: str, record_user: Start) -> None:
    require_root()
    require_program("unshare", "util-linux")
    recording = record_user()
    before = time.time_ns()
    recording.run("unshare", "--time", "--monotonic=100000", "--fork", program, "count", "1")
    (event,) = recording.events()
    assert before - 10**9 < event.timestamp < time.time_ns() + 10**9
    assert event["time_ns"] != Path("/proc/self/ns/time").stat().st_ino


def test_a_program_that_closes_all_descriptors(tmp_path: Path, record_user: Start) -> None:
    """As daemons do. Its own files, which have the numbers afterwards, are left alone, and it is recorded again."""
    program = build_text(
        tmp_path,
        """
        #include <fcntl.h>
        #include <stdio.h>
        #include <unistd.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n))
        int main(int argc, char **argv) {
            int files[16];
            boxtrace_test_step(1);
            for (int file = 3; file < 4096; file++)
                close(file);
            for (int i = 0; i < 16; i++)
                files[i] = open(argv[1], O_RDWR);
            for (uint32_t n = 2; argc == 3 && access(argv[2], F_OK); n++) {
                boxtrace_test_step(n);
                usleep(1000);
            }
            for (int i = 0; i < 16; i++)
                printf("%d %d\\n", files[i], (int)lseek(files[i], 0, SEEK_CUR));
            return 0;
        }
        """,
    )
    data, done = tmp_path / "data", tmp_path / "done"
    data.write_bytes(b"x" * 4096)
    recording = record_user()
    command = [program, data, done]
    with subprocess.Popen(command, env=recording.environment(), stdout=subprocess.PIPE, text=True) as process:
        recorded = recording.wait_for_events(300)
        done.touch()
        assert process.stdout is not None
        assert recorded >= 300 and process.stdout.read() == "".join(f"{number} 0\n" for number in range(3, 19))
    assert data.read_bytes() == b"x" * 4096 and process.returncode == 0


def test_descriptors_do_not_survive_exec(tmp_path: Path, record_user: Start) -> None:
    program = build_text(
        tmp_path,
        """
        #include <unistd.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n))
        int main(void) {
            boxtrace_test_step(1);
            execl("/bin/ls", "ls", "/proc/self/fd", (char *)0);
            return 1;
        }
        """,
    )
    recording = record_user()
    listed = recording.run(program, close_fds=True, stdin=subprocess.DEVNULL).stdout.split()
    assert len(recording.events()) == 1
    assert set(listed) <= {"0", "1", "2", "3"}


def test_thousands_of_clients(tmp_path: Path, record_user: Start) -> None:
    """More processes than rings for four threads each are granted: nobody is without one, and none loses an event."""
    program = build_text(
        tmp_path,
        """
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/prctl.h>
        #include <sys/wait.h>
        #include <unistd.h>
        BOXTRACE_EVENT(test, count, (uint32_t, n))
        int main(int argc, char **argv) {
            int go[2];
            if (argc < 2 || pipe(go))
                return 1;
            for (int i = 0; i < atoi(argv[1]); i++) {
                if (fork())
                    continue;
                char byte;
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(go[1]);
                while (!boxtrace_enabled(test, count))
                    usleep(20000);
                boxtrace_test_count(1);
                if (read(go[0], &byte, 1) == 0) /* when all are there */
                    boxtrace_test_count(2);
                _exit(0);
            }
            puts("forked");
            fflush(stdout);
            getchar();
            close(go[1]);
            while (wait(0) > 0)
                ;
            return 0;
        }
        """,
    )
    clients = 2000
    recording = record_user()
    before = resident()
    with subprocess.Popen(
        [program, str(clients)], env=recording.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while (recording.host.clients < clients or recording.host.account.events < clients) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        connected, peak = recording.host.clients, resident()
        try:
            process.communicate(b"go", timeout=30)
        finally:
            process.kill()
    assert connected == clients + 1
    assert peak - before < clients * (64 << 10)
    by_pid: dict[int, list[int]] = {}
    for event in recording.events():
        by_pid.setdefault(event["pid"], []).append(event["n"])
    assert len(by_pid) == clients and all(numbers == [1, 2] for numbers in by_pid.values())
    assert not recording.lost()


def test_a_thousand_kills(tmp_path: Path, record_user: Start) -> None:
    """SIGKILL at any moment: all that the program knew to be recorded is there, without a gap, and nothing else.

    It says how far it came in memory that outlives it, after each event.
    """
    program = build_text(
        tmp_path,
        """
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <unistd.h>
        BOXTRACE_EVENT(test, count, (uint64_t, n))
        int main(int argc, char **argv) {
            const int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
            volatile uint64_t *done = mmap(0, 8000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (done == MAP_FAILED)
                return 1;
            done += strtoul(argv[2], 0, 10);
            while (!boxtrace_enabled(test, count))
                ;
            for (uint64_t n = 0;; n++) {
                boxtrace_test_count(n);
                *done = n + 1;
                if (n > 3000)
                    usleep(100); /* the ring holds them all: none is lost for want of room */
            }
        }
        """,
    )
    rounds = 1000
    done = tmp_path / "done"
    done.write_bytes(bytes(8 * rounds))
    recording = record_user(ring_size=1 << 18, flush_seconds=0.5)
    pids = []
    for number in range(rounds):
        command = [program, str(done), str(number)]
        with subprocess.Popen(command, env=recording.environment()) as process:
            time.sleep(0.002 + number % 50 * 0.0004)
            process.send_signal(signal.SIGKILL)
        pids.append(process.pid)
    by_pid: dict[int, list[int]] = {}
    for event in recording.events():
        by_pid.setdefault(event["pid"], []).append(event["n"])
    account = recording.stop()
    assert (account.spoiled, account.refused, recording.lost()) == (0, 0, 0)
    told = struct.unpack(f"={rounds}Q", done.read_bytes())
    assert sum(count > 0 for count in told) > rounds / 4
    for pid, count in zip(pids, told, strict=True):
        numbers = by_pid.get(pid, [])
        assert numbers == list(range(len(numbers))) and count <= len(numbers) <= count + 1


def test_contexts_change_without_a_word_of_the_client(tmp_path: Path, record_user: Start) -> None:
    """Each event has what the thread itself found in /proc before it; nothing waits for the host in between."""
    require_root()
    program = build_text(
        tmp_path,
        """
        #include <fcntl.h>
        #include <pthread.h>
        #include <sched.h>
        #include <stdio.h>
        #include <sys/prctl.h>
        #include <sys/wait.h>
        #include <unistd.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n), (string, uts), (string, net), (string, mnt))
        static const char *space(const char *kind, char text[64]) {
            char path[64];
            snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", kind);
            text[readlink(path, text, 63)] = 0;
            return text;
        }
        static void step(uint32_t n) {
            char uts[64] = {0}, net[64] = {0}, mnt[64] = {0};
            boxtrace_test_step(n, space("uts", uts), space("net", net), space("mnt", mnt));
        }
        static void *work(void *unused) {
            const int before = open("/proc/thread-self/ns/uts", O_RDONLY);
            step(10);
            for (uint32_t n = 0; n < 20; n++) {
                if (unshare(CLONE_NEWUTS))
                    _exit(1);
                step(11 + n);
            }
            prctl(PR_SET_NAME, "renamed");
            if (setns(before, CLONE_NEWUTS))
                _exit(1);
            step(40);
            if (unshare(CLONE_FS | CLONE_NEWNS | CLONE_NEWNET))
                _exit(1);
            step(41);
            return unused;
        }
        int main(void) {
            pthread_t threads[3];
            step(0);
            for (int i = 0; i < 3; i++)
                pthread_create(&threads[i], NULL, work, NULL);
            for (int i = 0; i < 3; i++)
                pthread_join(threads[i], NULL);
            step(1);
            if (fork() == 0) {
                step(50);
                if (unshare(CLONE_NEWUTS))
                    _exit(1);
                step(51);
                _exit(0);
            }
            wait(NULL);
            return 0;
        }
        """,
    )
    recording = record_user(flush_seconds=60.0)
    recording.run(program)
    events = recording.events()
    assert len(events) == 3 * 23 + 4 and not recording.lost()
    for event in events:
        for kind in ("uts", "net", "mnt"):
            assert event[kind] == f"{kind}:[{event[f'{kind}_ns']}]", (event["n"], kind, event["tid"])
        assert event["procname"] == ("renamed" if event["n"] in (40, 41) else "program"), event["n"]
    assert len({event["uts_ns"] for event in events}) >= 3


def test_there_is_a_ring_for_each_thread(tmp_path: Path, record_user: Start) -> None:
    """Threads that have recorded nothing yet are counted: 50 that begin at the same time find a ring each."""
    program = build_text(
        tmp_path,
        """
        #include <pthread.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n))
        BOXTRACE_EVENT(test, more, (uint32_t, n))
        static pthread_barrier_t barrier;
        static void *work(void *number) {
            pthread_barrier_wait(&barrier);
            boxtrace_test_step((uint32_t)(uintptr_t)number);
            pthread_barrier_wait(&barrier);
            return NULL;
        }
        int main(void) {
            pthread_t threads[50];
            pthread_barrier_init(&barrier, NULL, 51);
            for (uintptr_t i = 0; i < 50; i++)
                pthread_create(&threads[i], NULL, work, (void *)i);
            boxtrace_unregister(&boxtrace_event_test_more);
            boxtrace_register(&boxtrace_event_test_more);
            boxtrace_wait(60000); /* also for the rings that are asked for before the new type is */
            pthread_barrier_wait(&barrier);
            pthread_barrier_wait(&barrier);
            for (int i = 0; i < 50; i++)
                pthread_join(threads[i], NULL);
            return 0;
        }
        """,
    )
    recording = record_user()
    recording.run(program)
    events = recording.events()
    assert sorted(event["n"] for event in events) == list(range(50)) and not recording.lost()
    assert len({event["tid"] for event in events}) == 50
