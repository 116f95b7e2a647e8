from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_TERMINATED_AT_FIRST_IMPORT = """
import os, sys
from balena_supervisor.__main__ import main

class Terminate:
    def find_spec(self, name, path=None, target=None):
        if name == "balena_supervisor.supervise":
            os.kill(os.getpid(), int(sys.argv[1]))

sys.meta_path.insert(0, Terminate())
main(["run"])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_container_that_is_stopped_while_it_still_imports_ends_at_once_with_143(number: int) -> None:
    command = [sys.executable, "-c", _TERMINATED_AT_FIRST_IMPORT, str(int(number))]
    done = subprocess.run(command, check=False, timeout=30, capture_output=True)
    assert (done.returncode, done.stderr) == (143, b"")
