"""How programs are built with the C client: compilers, libraries, what a tracepoint becomes in machine code."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from boxtrace.userspace.contexts import EventContexts
from support.require import require_program
from support.user import C_CLIENT, ROOT, Recording, build

CONFORMANCE = ROOT / "tests/conformance/client.c"
Start = Callable[..., Recording]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads x86_64 instructions")
@pytest.mark.parametrize("compiler", ["gcc", "g++", "musl-gcc"])
def test_a_disabled_tracepoint_is_a_load_and_a_branch(compiler: str, tmp_path: Path) -> None:
    require_program("objdump", "binutils")
    source = tmp_path / "program.c"
    source.write_text(
        """
        #include <boxtrace.h>
        BOXTRACE_EVENT(test, step, (uint32_t, n), (string, text), (sequence, double, samples))
        BOXTRACE_EVENT_IP(test, place, (uint32_t, n))
        BOXTRACE_MARK(test, mark)
        #ifdef __cplusplus
        extern "C" {
        #endif
        void step(uint32_t n, const char *text, double *samples) { boxtrace_test_step(n, text, samples, 3); }
        void place(uint32_t n) { boxtrace_test_place(n); }
        void mark(void) { boxtrace_test_mark(); }
        #ifdef __cplusplus
        }
        #endif
        int main(void) { return 0; }
        """
    )
    program = build(source, tmp_path / "program", compiler=compiler, options=("-fcf-protection=none",))
    command = ["objdump", "--disassemble", "--no-show-raw-insn", program]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for function in ("step", "place", "mark"):
        body = listing.partition(f" <{function}>:\n")[2].partition("\n\n")[0]
        instructions = [line.split("\t")[1].split()[0] for line in body.splitlines()]
        assert instructions[: instructions.index("ret") + 1] == ["mov", "test", "jne", "ret"]


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_the_place_in_the_program(compiler: str, tmp_path: Path, record_user: Start) -> None:
    """The linker's symbols tell in which function an address is."""
    source = tmp_path / "program.c"
    source.write_text(
        """
        #include <boxtrace.h>
        BOXTRACE_EVENT_IP(test, place, (string, function))
        #define FUNCTION(name) __attribute__((noinline)) void name(void) { boxtrace_test_place(#name); }
        #ifdef __cplusplus
        extern "C" {
        #endif
        FUNCTION(first)
        FUNCTION(second)
        #ifdef __cplusplus
        }
        #endif
        int main(void) {
            first();
            second();
            boxtrace_test_place("main");
            return 0;
        }
        """
    )
    program = build(source, tmp_path / "program", compiler=compiler, options=("-no-pie",))
    symbols = subprocess.run(["nm", "-S", program], check=True, capture_output=True, text=True).stdout
    sizes = {line.split()[3]: line.split()[:2] for line in symbols.splitlines() if len(line.split()) == 4}
    recording = record_user()
    recording.run(str(program))
    events = recording.events()
    assert [event["function"] for event in events] == ["first", "second", "main"]
    for event in events:
        begin, size = (int(word, 16) for word in sizes[event["function"]])
        assert begin < event["ip"] <= begin + size


@pytest.mark.parametrize("compiler", ["gcc", "g++", "musl-gcc"])
def test_the_place_of_all_events(compiler: str, tmp_path: Path, record_user: Start) -> None:
    """As a context that the host asks for, beside a field of the same name, also of a call that nothing follows."""
    source = tmp_path / "program.c"
    source.write_text(
        """
        #include <boxtrace.h>
        BOXTRACE_EVENT_IP(test, both, (string, function))
        BOXTRACE_EVENT(test, place, (string, ip))
        BOXTRACE_MARK(test, mark)
        #ifdef __cplusplus
        extern "C" {
        #endif
        __attribute__((noinline)) void placed(void) { boxtrace_test_place("placed"); }
        __attribute__((noinline)) void marked(void) { boxtrace_test_mark(); }
        __attribute__((noinline)) void doubly(void) { boxtrace_test_both("doubly"); }
        #ifdef __cplusplus
        }
        #endif
        int main(void) {
            placed();
            marked();
            doubly();
            return 0;
        }
        """
    )
    program = build(source, tmp_path / "program", compiler=compiler, options=("-no-pie",))
    symbols = subprocess.run(["nm", "-S", program], check=True, capture_output=True, text=True).stdout
    sizes = {line.split()[3]: line.split()[:2] for line in symbols.splitlines() if len(line.split()) == 4}
    recording = record_user(contexts=EventContexts(ip=True))
    recording.run(str(program))
    events = recording.events()
    assert [event.name for event in events] == ["test:place", "test:mark", "test:both"]
    for event, function in zip(events, ("placed", "marked", "doubly"), strict=True):
        begin, size = (int(word, 16) for word in sizes[function])
        assert begin < event.context["ip"] <= begin + size
    assert events[0]["ip"] == "placed" and events[2].payload["ip"] == events[2].context["ip"]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("compiler", ["gcc", "g++", "musl-gcc"])
def test_installed_library_is_found_by_pkg_config(
    compiler: str, static: bool, tmp_path: Path, record_user: Start
) -> None:
    require_program("pkg-config", "pkg-config")
    require_program(compiler, {"musl-gcc": "musl-tools"}.get(compiler, compiler))
    shutil.copytree(C_CLIENT, tmp_path / "source", ignore=shutil.ignore_patterns("build"))
    prefix, stage = Path("/opt/boxtrace"), tmp_path / "stage"
    make = ["make", "-s", "install", f"PREFIX={prefix}", f"DESTDIR={stage}"]
    subprocess.run([*make, f"CC={compiler if compiler != 'g++' else 'gcc'}"], cwd=tmp_path / "source", check=True)
    environment = dict(os.environ, PKG_CONFIG_PATH=f"{stage}{prefix}/lib/pkgconfig", PKG_CONFIG_SYSROOT_DIR=str(stage))
    command = ["pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "boxtrace"]
    flags = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    source = tmp_path / ("program.cpp" if compiler == "g++" else "program.c")
    source.write_text(CONFORMANCE.read_text())
    link = ["-static"] if static else [f"-Wl,-rpath={stage}{prefix}/lib"]
    subprocess.run([compiler, source, "-o", tmp_path / "linked", *flags, *link], check=True)
    recording = record_user(contexts=EventContexts(ip=True))
    recording.run(str(tmp_path / "linked"), "count", "3")
    events = recording.events()
    assert [event["n"] for event in events] == [0, 1, 2]
    assert {event.context["ip"] > 0 for event in events} == {True}, "the library has the optional part, too"


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_a_plugin_that_is_loaded_later(compiler: str, tmp_path: Path, record_user: Start) -> None:
    """As an extension module of Python is: musl has no room for its thread-local variables in the first block."""
    require_program(compiler, {"musl-gcc": "musl-tools"}.get(compiler, compiler))
    (tmp_path / "plugin.c").write_text(
        "#include <boxtrace.h>\nBOXTRACE_EVENT(test, loaded, (uint32_t, n))\n"
        "void record(uint32_t n) { boxtrace_test_loaded(n); }\n"
    )
    (tmp_path / "main.c").write_text(
        """
        #include <dlfcn.h>
        #include <pthread.h>
        #include <stdint.h>
        #include <stdio.h>
        static void (*record)(uint32_t);
        static void *work(void *unused) {
            record(2);
            return unused;
        }
        int main(int argc, char **argv) {
            pthread_t thread;
            void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : 0;
            if (!plugin) {
                fputs(dlerror(), stderr);
                return 1;
            }
            record = (void (*)(uint32_t))(uintptr_t)dlsym(plugin, "record");
            record(1);
            pthread_create(&thread, 0, work, 0);
            pthread_join(thread, 0);
            record(3);
            dlclose(plugin);
            return 0;
        }
        """
    )
    shared = ["-std=c11", "-O2", "-fPIC", "-shared", "-Wl,-z,nodelete", f"-I{C_CLIENT}", C_CLIENT / "boxtrace.c"]
    plugin, main = tmp_path / "plugin.so", tmp_path / "main"
    subprocess.run([compiler, *shared, tmp_path / "plugin.c", "-o", plugin, "-lpthread"], check=True)
    subprocess.run([compiler, tmp_path / "main.c", "-o", main, "-ldl", "-lpthread"], check=True)
    recording = record_user()
    recording.run(str(main), str(plugin))
    assert [event["n"] for event in recording.events()] == [1, 2, 3]
