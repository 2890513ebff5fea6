import shutil
import subprocess
from pathlib import Path

import pytest

from support.ctf_sample import TEXT, write_sample

pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")


def test_written_trace_is_read_without_warning(tmp_path: Path) -> None:
    command = ["babeltrace2", "--clock-gmt", str(write_sample(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == TEXT
    assert done.stderr == ""
