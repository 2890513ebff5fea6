"""Processes as a proc mount shows them, as far as runtimes are found by them."""

from pathlib import Path


def fake_process(proc: Path, pid: int, name: str, ppid: int, ticks: int, *arguments: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    fields = ["S", str(ppid), *("0" for _ in range(17)), str(ticks)]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)} 0\n")
    (proc / str(pid) / "cmdline").write_bytes(b"\0".join(text.encode() for text in arguments) + b"\0")
