"""Runs the benchmarks: ``python -m benchmarks [--rounds N] [--calls N] [--output DIR] [NAME...]``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.bench_concurrent import format_concurrent, measure_concurrent
from benchmarks.bench_containers import format_containers, measure_containers
from benchmarks.bench_decode import format_decode, measure_decode
from benchmarks.bench_instructions import format_instructions, measure_instructions
from benchmarks.bench_startup import format_starts, measure_starts
from benchmarks.bench_sustained import format_sustained, measure_sustained
from benchmarks.bench_syscall import format_costs, measure
from benchmarks.bench_user import format_user, measure_user
from benchmarks.decode_traces import record_kernel, record_ust, repeat_lttng
from benchmarks.report import machine, write_json
from benchmarks.workload import build_tools

_CPU = 1


def _syscall(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as directory:
        tools = build_tools(Path(directory))
        costs, absent = measure(tools, rounds=options.rounds, calls=options.calls, cpu=_CPU)
    print(f"\nOne getppid system call, median of {options.rounds} interleaved rounds\n")
    print(format_costs(costs))
    for sentence in absent:
        print(f"not measured: {sentence}")
    write_json(options.output, "syscall", [asdict(cost) for cost in costs])


def _sustained(options: argparse.Namespace) -> None:
    results = [measure_sustained(contexts, options.sustained_calls) for contexts in ("all", "none")]
    print(f"\nSustained recording, {options.sustained_calls:,} calls on each CPU\n")
    print(format_sustained(results))
    write_json(options.output, "sustained", [asdict(result) for result in results])


def _instructions(options: argparse.Namespace) -> None:
    costs = measure_instructions()
    print("\nOne getppid system call in instructions, on the kernel of Debian 12 in a virtual machine\n")
    print(format_instructions(costs))
    write_json(options.output, "instructions", [asdict(cost) for cost in costs])


def _decode(options: argparse.Namespace) -> None:
    events = options.decode_events
    rounds = min(options.rounds, 3)
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as name:
        directory = Path(name)
        costs = measure_decode("LTTng's kernel trace, repeated", repeat_lttng(directory, events), rounds)
        costs += measure_decode("boxtrace's kernel trace", record_kernel(directory, events), rounds)
        if shutil.which("lttng-sessiond") is None:
            print("\ndecode: no trace of LTTng-UST, lttng-tools is not installed")
        else:
            costs += measure_decode("LTTng-UST with 11 contexts", record_ust(directory, events), rounds)
    print(f"\nReading traces, medians of {rounds}\n")
    print(format_decode(costs))
    write_json(options.output, "decode", [asdict(cost) for cost in costs])


def _user(options: argparse.Namespace) -> None:
    costs = measure_user()
    print("\nOne event of an application\n")
    print(format_user(costs))
    write_json(options.output, "user", [asdict(cost) for cost in costs])


def _containers(options: argparse.Namespace) -> None:
    if shutil.which("crun") is None:
        print("\ncontainers: not measured, crun is not installed")
        return
    results = measure_containers(options.containers)
    print("\nContainers that end at once, one after the other; medians of blocks (half of them lie between)\n")
    print(format_containers(results))
    write_json(options.output, "containers", {kind: asdict(result) for kind, result in results.items()})


def _concurrent(options: argparse.Namespace) -> None:
    results = measure_concurrent(options.concurrent)
    print("\nContainers that live 30 ms, ten at a time, recorded by name; medians (half of them lie between)\n")
    print(format_concurrent(results))
    write_json(options.output, "concurrent", {starter: asdict(result) for starter, result in results.items()})


def _startup(options: argparse.Namespace) -> None:
    costs = measure_starts(options.rounds)
    print(f"\nFrom the start of a command, median of {options.rounds} interleaved rounds\n")
    print(format_starts(costs))
    write_json(options.output, "startup", [asdict(cost) for cost in costs])


BENCHMARKS = {
    "startup": _startup,
    "syscall": _syscall,
    "sustained": _sustained,
    "instructions": _instructions,
    "decode": _decode,
    "user": _user,
    "containers": _containers,
    "concurrent": _concurrent,
}
"""Every benchmark, in the order of their running."""


def main() -> int:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what tracing costs; as root.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--rounds", type=int, default=7, help="of every tracer (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=5000, help="system calls of a batch (default: %(default)s)")
    parser.add_argument("--sustained-calls", type=int, default=5_000_000, help="on each CPU (default: %(default)s)")
    parser.add_argument("--decode-events", type=int, default=3_000_000, help="to read (default: %(default)s)")
    parser.add_argument(
        "--containers",
        type=int,
        default=200,
        help="with each kind of recording, a multiple of 25 (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrent", type=int, default=200, help="of each starter, a multiple of 20 (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="for JSON (default: %(default)s)")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("recording needs root")
    about = machine()
    print(f"boxtrace {about['boxtrace']}, Linux {about['kernel']}, {about['cpus']} x {about['cpu']}")
    for name, run in BENCHMARKS.items():
        if name in (options.names or BENCHMARKS):
            run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
