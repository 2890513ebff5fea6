"""Makes ``support`` importable for every test (pytest puts a conftest's directory on the import path)."""

from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is a matter of what else the machine does.
settings.register_profile("boxtrace", deadline=None, print_blob=True)
settings.load_profile("boxtrace")

# Tests that compare a recording with what other programs saw of a machine that others use too. One that fails is run
# again, at most twice, and the summary shows it (RERUN): each is still to be looked into.
MACHINE = frozenset({"conformance", "interop", "kernel", "vm"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in MACHINE:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=2))
