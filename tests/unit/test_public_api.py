"""The public names of the package, pinned: whoever adds or removes one says so here."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import boxtrace

ROOT = Path(boxtrace.__file__).parent

PINNED = {
    "boxtrace.errors": [
        "BoxtraceError",
        "CapabilityError",
        "ContainerNotFoundError",
        "FilterError",
        "OutputError",
        "SelectionError",
        "TraceFormatError",
        "UsageError",
    ],
    "boxtrace.filters": ["Filter"],
    "boxtrace.units": ["CgroupId", "NamespaceInum", "Nanoseconds", "Pid", "Tid", "parse_seconds", "parse_size"],
    "boxtrace.kernel.syscalls": [
        "Abi",
        "Argument",
        "Syscall",
        "describe_arguments",
        "load_arguments",
        "load_names",
        "syscall_table",
    ],
    "boxtrace.kernel.tracefs": ["EventFormat", "FormatField", "Tracefs", "parse_format"],
}


def public_modules() -> list[tuple[str, Path]]:
    """Return every module that no part of the name marks as private, with its file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(["boxtrace", *(part for part in parts if part != "__init__")])
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            found.append((name, path))
    return found


def declared(path: Path) -> list[str] | None:
    """Return a module's ``__all__`` without importing it; None when it has none."""
    for node in ast.parse(path.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return [str(name) for name in value]
    return None


@pytest.mark.parametrize("module", PINNED)
def test_public_names_are_the_pinned_ones(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(PINNED[module])


@pytest.mark.parametrize(("module", "path"), [pytest.param(*entry, id=entry[0]) for entry in public_modules()])
def test_a_public_module_tells_what_it_is_and_declares_only_what_it_has(module: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{module} has no docstring"
    names = declared(path)
    if names:
        loaded = importlib.import_module(module)
        assert [name for name in names if not hasattr(loaded, name)] == []
        assert len(set(names)) == len(names)
