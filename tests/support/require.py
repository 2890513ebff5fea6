"""What a test needs of the machine: without it the test is skipped, or fails where CI should have it."""

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; under ``CI=true`` fail it: the setup should have provided what is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI should have it)")
    pytest.skip(reason)


def require_program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed (package {package})")
    return found


def require_root() -> None:
    if os.geteuid() != 0:
        missing("needs root")
