"""How tests are spread over workers."""

from __future__ import annotations

import re
import subprocess

from tools.dev_parts.paths import PYTHON, ROOT
from tools.dev_parts.test import pytest_arguments

FILES = ("tests/tools/test_watch.py", "tests/tools/test_programs.py", "tests/tools/test_image_script.py")
_RUN = re.compile(r"^\[(gw\d+)\] .* PASSED (tests/tools/\w+\.py)::", re.MULTILINE)


def test_one_worker_runs_a_file_of_tests_that_share_names_and_ports() -> None:
    parallel = pytest_arguments([], [], workers=2)
    command = [str(PYTHON), "-m", "pytest", *parallel, "-v", "--color=no", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    ran = set(_RUN.findall(done.stdout))
    assert sorted(file for _, file in ran) == sorted(FILES)
    assert {worker for worker, _ in ran} == {"gw0", "gw1"}
