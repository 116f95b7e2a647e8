"""The repository keeps its shape: design section 4, style 1 to 3, 11, 22 and 23."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layout_rules import PACKAGE, complaints, complaints_about_test, long_functions

ROOT = Path(__file__).parent.parent

TOP_LEVEL = (
    *("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE.md", "CHANGELOG.md", ".ci/run"),
    *("tools/dev", "tools/bench", "docs"),
    *(f"tests/{name}" for name in ("fakes", "integration", "runtime", "actors", "state", "adapters", "http", "db")),
    *(
        f"{PACKAGE}/{name}.py"
        for name in ("__main__", "cli", "cli_why", "settings", "messages", "steps", "errors", "clock")
    ),
)
PARTS = {"runtime", "actors", "state", "adapters", "http", "db", "migrations", "model"}
EXECUTABLE = (".ci/run", "tools/dev", "tools/bench")


def python_files(folder: str) -> list[Path]:
    """Also programs without an ending, such as ``tools/dev``."""
    files = [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in files if path.suffix == ".py" or _starts_python(path)]


def _starts_python(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    return first.startswith(b"#!") and b"python" in first


def modules() -> Iterator[tuple[str, Path]]:
    for path in python_files(PACKAGE):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_module_imports_downwards_only_and_each_library_in_its_place() -> None:
    assert [text for module, path in modules() for text in complaints(module, path.read_text())] == []


@pytest.mark.parametrize(("folder", "limit"), [(PACKAGE, 400), ("tools", 400), ("tests", 600)])
def test_no_file_is_longer_than_its_limit(folder: str, limit: int) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files(folder)}

    assert {name: length for name, length in lengths.items() if length > limit} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{text}"
        for folder in (PACKAGE, "tools", "tests")
        for path in python_files(folder)
        for text in long_functions(ast.parse(path.read_text()), 60)
    ] == []


def test_no_test_sleeps_or_is_left_out() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{text}"
        for path in python_files("tests")
        for text in complaints_about_test(ast.parse(path.read_text()))
    ] == []


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_what_the_design_names_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", EXECUTABLE)
def test_a_command_can_be_executed(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_the_package_has_no_part_that_the_design_does_not_know() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders == PARTS


def test_no_top_level_package_hides_one_of_the_standard_library() -> None:
    assert not (ROOT / "http").exists()


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("state.plan", "from balena_supervisor.actors import planner", "state.plan:1: must not import actors"),
        ("state.plan", "import balena_supervisor.adapters.engine", "must not import adapters.engine"),
        ("state.plan", "from balena_supervisor import clock", "must not import clock"),
        ("state.plan", "from balena_supervisor.clock import SystemClock", "must not import clock.SystemClock"),
        ("state.plan", "from ..http.app import make", "must not import http.app"),
        ("state.plan", "import logging", "is pure and must not import logging"),
        ("state.plan", "def f():\n    import os", "state.plan:2: is pure and must not import os"),
        ("runtime.wire", "from balena_supervisor.steps import Step", "must not import steps"),
        ("runtime.wire", "from balena_supervisor.settings import Settings", "must not import settings"),
        ("actors.images", "import docker", "must not import docker"),
        ("actors.images", "from docker.errors import NotFound", "must not import docker"),
        ("actors.images", "from balena_supervisor.runtime.post_office import X", "must not import runtime.post_office"),
        ("actors.images", "from balena_supervisor.http.app import X", "must not import http.app"),
        ("http.app", "import requests", "must not import requests"),
        ("http.app", "from balena_supervisor.db.models import App", "must not import db.models"),
        ("adapters.dbus", "import falcon", "must not import falcon"),
        ("adapters.files", "from gunicorn.app import base", "must not import gunicorn"),
        ("actors.target_state", "import sqlite3", "must not import sqlite3"),
        ("model.app", "from balena_supervisor.messages import Step", "must not import messages"),
        ("runtime.mailbox", "import time", "must not import time"),
        ("runtime.mailbox", "from time import monotonic", "must not import time"),
        ("runtime.wire", "import pickle", "must not import pickle"),
        ("actors.root", "from rich.table import Table", "must not import rich"),
        ("actors.planner", "datetime.now(UTC)", "only clock tells time"),
        ("actors.planner", "datetime.datetime.utcnow()", "only clock tells time"),
        ("new_module", "from balena_supervisor import errors", "must not import errors"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str, complaint: str) -> None:
    found = complaints(module, source)

    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("state.plan", "from balena_supervisor.model.app import ComposedApp\nfrom balena_supervisor.state import x"),
        ("state.answers", "from balena_supervisor.clock import iso"),
        ("actors.images", "from balena_supervisor.clock import Clock"),
        ("actors.images", "from balena_supervisor.adapters.engine import Engine\nimport threading"),
        ("actors.root", "from balena_supervisor.runtime.post_office import PostOffice"),
        ("adapters.engine", "import docker\nfrom requests import Session"),
        ("clock", "import time\nfrom datetime import datetime\ndatetime.now(UTC)"),
        ("actors.planner", "self.clock.now()"),
        ("db.models", "import peewee"),
        ("cli", "import click, rich"),
        ("http.app", "from balena_supervisor import __version__"),
    ],
)
def test_a_permitted_import_is_no_complaint(module: str, source: str) -> None:
    assert complaints(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "from time import sleep",
        "@pytest.mark.skipif(True, reason='')\ndef test_x(): ...",
        "@pytest.mark.xfail\ndef test_x(): ...",
        "pytest.skip('no engine')",
        "docker = pytest.importorskip('docker')",
    ],
)
def test_a_sleep_or_a_skip_is_found(source: str) -> None:
    assert len(complaints_about_test(ast.parse(source))) == 1


def test_a_function_over_the_limit_is_found() -> None:
    source = "def f():\n" + "    x = 1\n" * 5

    assert long_functions(ast.parse(source), 5) == ["1: f has 6 lines"]
    assert long_functions(ast.parse(source), 6) == []
