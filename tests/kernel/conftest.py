"""Fixtures of the tests on the running kernel; all of them need root."""

import pytest

from support.demo import demo_container
from support.require import require_root
from support.workloads import workload

__all__ = ["demo_container", "workload"]


@pytest.fixture(autouse=True, scope="session")
def _root() -> None:
    require_root()
