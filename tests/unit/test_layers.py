"""The layers of the package: what a module imports is of its own layer or of a lower one."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import boxtrace
from boxtrace.cli.main import COMMANDS
from boxtrace.cli.main import boxtrace as command_line

ROOT = Path(boxtrace.__file__).parent

# From the highest to the lowest; those of one line may not import each other.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(line.split())
    for line in (
        "__main__",
        "cli",
        "view",
        "analysis",
        "trace",
        "session",
        "kernel",
        "userspace",
        "consumer",
        "containers",
        "filters",
        "ctf",
        "_native",
        "collector errors interrupts limits mapped_memory threads units version",
    )
)
RANK = {name: rank for rank, names in enumerate(reversed(LAYERS)) for name in names}


def imported_modules(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Yield the absolute name of every module (or member of one) that is imported anywhere in a module."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def offences(module: str, source: str, is_package: bool = False) -> list[str]:
    """Return what a module of boxtrace must not import, though it does."""
    own = module.split(".")[1] if "." in module else ""
    found = []
    for name in imported_modules(ast.parse(source), module, is_package):
        parts = name.split(".")
        if parts[0] != "boxtrace" or len(parts) < 2 or not own:
            continue
        target = parts[1]
        if target not in RANK:
            found.append(f"{name} is of no layer")
        elif target != own and RANK[target] >= RANK[own]:
            found.append(f"{module} ({own}) imports {name} ({target})")
    return found


def sources() -> list[tuple[str, Path]]:
    """Return every module of the package with its file."""
    return [
        (".".join(["boxtrace", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"), path)
        for path in sorted(ROOT.rglob("*.py"))
    ]


@pytest.mark.parametrize(("module", "path"), [pytest.param(*entry, id=entry[0]) for entry in sources()])
def test_no_module_imports_a_higher_layer(module: str, path: Path) -> None:
    own = module.split(".")[1] if "." in module else None
    assert own is None or own in RANK, f"add {own!r} to LAYERS, in its place"
    assert offences(module, path.read_text(), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "import boxtrace.cli.main",
        "from boxtrace.session import Session",
        "from boxtrace import view",
        "from ..trace import open_trace",
        "def f():\n    from ...boxtrace.analysis import x\n",
        "if TYPE_CHECKING:\n    from boxtrace.session.model import Session\n",
        "from boxtrace.nowhere import x",
    ],
)
def test_an_import_of_a_higher_or_unknown_layer_is_found(source: str) -> None:
    assert len(offences("boxtrace.kernel.tracefs", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from boxtrace.errors import CapabilityError",
        "from boxtrace.kernel.syscalls import Abi",
        "from . import syscalls",
        "from ..ctf.model import Trace",
        "import os, sys\nfrom collections import abc\n",
    ],
)
def test_an_import_of_the_same_or_a_lower_layer_is_not(source: str) -> None:
    assert offences("boxtrace.kernel.tracefs", source) == []


def test_every_command_is_registered_in_the_one_list_and_is_a_module() -> None:
    modules = {path.stem for path in (ROOT / "cli").glob("*.py") if not path.stem.startswith("_")}
    commands = {
        name.replace("_", "-")
        for name in modules
        if hasattr(importlib.import_module(f"boxtrace.cli.{name}"), "command")
    }
    assert commands == set(COMMANDS)
    context = click.Context(command_line)
    for name in COMMANDS:
        command = command_line.get_command(context, name)
        assert command is not None
        assert command.help
