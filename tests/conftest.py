"""What holds for every test."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tools.dev_parts.registry import registry_in

# machines of different speed run the same examples; a slow one is no failure
settings.register_profile("supervisor", deadline=None)
settings.load_profile("supervisor")

_END_S = 5.0


#: tests that share engines and ports; those of one file also share names and what is started for the file
_ON_ENGINES = frozenset({"integration", "engine_sim", "tools"})
_IMAGE = "image"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs a file of tests on engines, and the image is built first, while the others go on."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _ON_ENGINES.intersection(item.path.parts):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: _group_of(item) != _IMAGE)


def _group_of(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark is not None else ""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail the test that started a thread and did not end it."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    for thread in started:
        thread.join(_END_S)
    left = [thread.name for thread in started if thread.is_alive()]
    if left:
        pytest.fail(f"threads left: {', '.join(left)}")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a registry without authentication."""
    given = os.environ.get("TEST_REGISTRY", "")
    if given:
        yield given
        return
    with registry_in(tmp_path_factory.mktemp("registry")) as address:
        yield address
