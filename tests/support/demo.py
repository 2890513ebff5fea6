"""The demo's own container (``demo/container.py``) as a fixture."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.require import require_program, require_root


def load_demo() -> ModuleType:
    """Return demo/container.py as a module."""
    path = Path(__file__).parents[2] / "demo/container.py"
    spec = importlib.util.spec_from_file_location("demo_container", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


remove_cgroup: Callable[[Path], None] = load_demo().remove_cgroup


@pytest.fixture
def demo_container() -> Iterator[Callable[..., Any]]:
    """Start demo containers: ``demo_container(name, *command, user=True)``; all are stopped at the end of the test."""
    require_root()
    require_program("busybox", "busybox-static")
    require_program("unshare", "util-linux")
    container = load_demo().DemoContainer
    with ExitStack() as stack:

        def start(name: str, *command: str, **options: Any) -> Any:
            return stack.enter_context(container(name, command, **options))

        yield start
