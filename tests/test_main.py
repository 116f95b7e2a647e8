from __future__ import annotations

import subprocess
import sys

_TERMINATED_AT_FIRST_IMPORT = """
import os, signal, sys
from balena_supervisor.__main__ import main

class Terminate:
    def find_spec(self, name, path=None, target=None):
        if name == "balena_supervisor.supervise":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Terminate())
main(["run"])
"""


def test_a_container_that_is_stopped_while_it_still_imports_ends_at_once_with_143() -> None:
    done = subprocess.run([sys.executable, "-c", _TERMINATED_AT_FIRST_IMPORT], check=False, timeout=30)
    assert done.returncode == 143
