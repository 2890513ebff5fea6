"""Interrupts, disks and CPUs of the machine, as the events of the state dump show them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from boxtrace.containers.mounts import kernel_device

__all__ = ["block_devices", "cpu_topology", "interrupts"]

Values: TypeAlias = "dict[str, int | str]"

_COMM = 15


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _handler_threads(proc: Path) -> dict[str, int]:
    """Return the threads that handle interrupts: name -> tid."""
    threads = {}
    for process in proc.glob("[0-9]*"):
        name = _read(process / "comm")
        if name.startswith("irq/"):
            threads[name] = int(process.name)
    return threads


def interrupts(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Iterator[Values]:
    """Yield each action of each interrupt (``/sys/kernel/irq``); ``tid`` is 0 where no thread handles it."""
    threads = _handler_threads(proc)
    for directory in sorted((sys / "kernel" / "irq").glob("[0-9]*"), key=lambda path: int(path.name)):
        for action in filter(None, _read(directory / "actions").split(",")):
            thread = f"irq/{directory.name}-{action}"[:_COMM]
            yield {
                "irq": int(directory.name),
                "name": _read(directory / "chip_name") or "unnamed_irq_chip",
                "action": action,
                "tid": threads.get(thread, 0),
            }


def block_devices(sys: Path = Path("/sys")) -> Iterator[Values]:
    """Yield each disk, and each partition after its disk; not those that are hidden or empty, as LTTng does."""
    for disk in sorted((sys / "block").glob("*")):
        if _read(disk / "hidden") == "1":
            continue
        parts = [disk, *sorted(path.parent for path in disk.glob("*/partition"))]
        for part in parts:
            number = _read(part / "dev")
            if number and _read(part / "size") not in ("", "0"):
                yield {"dev": kernel_device(number), "diskname": part.name.replace("!", "/")}


def cpu_topology(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[Values]:
    """Yield each CPU that is online; nothing on machines other than x86, as LTTng."""
    for block in _read(cpuinfo).split("\n\n"):
        lines = (line.partition(":") for line in block.splitlines())
        values = {name.strip(): value.strip() for name, _, value in lines}
        with suppress(KeyError, ValueError):
            yield {
                "architecture": "x86",
                "cpu_id": int(values["processor"]),
                "vendor": values["vendor_id"],
                "family": int(values["cpu family"]),
                "model": int(values["model"]),
                "model_name": values["model name"],
                "physical_id": int(values.get("physical id", "0")),
                "core_id": int(values.get("core id", "0")),
                "cores": int(values.get("cpu cores", "1")),
            }
