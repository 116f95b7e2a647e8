from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.dev_parts import paths, samples
from tools.dev_parts.test import pytest_arguments

ROOT = Path(__file__).parents[2]


WORKERS = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


@pytest.mark.parametrize(
    ("given", "left_out", "expected"),
    [
        ([], [], WORKERS),
        ([], ["engine"], [*WORKERS, "-m", "not engine"]),
        ([], ["engine", "root"], [*WORKERS, "-m", "not engine and not root"]),
        (["-x"], [], [*WORKERS, "-x"]),
        (["-k", "wire"], [], ["-k", "wire"]),
        (["tests/test_layout.py::test_x"], [], ["tests/test_layout.py::test_x"]),
        (["-m", "a or b", "-v"], ["engine"], ["-m", "(a or b) and not engine", "-v"]),
        (["-n", "3"], [], ["-n", "3"]),
    ],
)
def test_a_few_tests_run_without_workers_and_marks_are_joined(
    given: list[str], left_out: list[str], expected: list[str]
) -> None:
    assert pytest_arguments(given, left_out, workers=2) == expected


def test_set_up_is_silent_when_there_is_nothing_to_do() -> None:
    done = subprocess.run([ROOT / "tools/dev", "setup"], check=False, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_command_is_refused_with_the_usage() -> None:
    done = subprocess.run([ROOT / "tools/dev", "walk"], check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "usage: tools/dev" in done.stderr


def test_what_runs_before_the_set_up_needs_the_standard_library_only() -> None:
    code = f"import sys; sys.path[0] = {str(ROOT)!r}; import tools.dev_parts.main"

    done = subprocess.run([sys.executable, "-S", "-c", code], check=False, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


def test_each_checkout_has_names_of_its_own_on_a_shared_engine() -> None:
    assert paths.CHECKOUT in paths.INSTANCE
    assert samples.APP_ID >= 1_000_000_000


def test_the_sample_is_three_services_with_a_dependency_a_volume_a_port_and_a_network() -> None:
    images = samples.sample_names("localhost:5000")

    (app,) = samples.target(images, 8080)["local"]["apps"].values()
    services = {service["serviceName"]: service for service in app["services"].values()}

    assert set(services) == set(samples.SCRIPTS)
    assert services["web"]["depends_on"] == ["store"]
    assert services["web"]["ports"] == ["127.0.0.1:8080:8080"]
    assert all(service["networks"] == ["inside"] for service in services.values())
    assert (app["volumes"], app["networks"]) == ({"data": {}}, {"inside": {}})
