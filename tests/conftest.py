"""What holds for every test."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tools.dev_parts.registry import registry_in

# machines of different speed run the same examples; a slow one is no failure
settings.register_profile("supervisor", deadline=None)
settings.load_profile("supervisor")

_END_S = 5.0


_ON_ENGINES = frozenset({"integration", "engine_sim", "tools"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files in this order: the image is built first, while others do what takes long; then come
    the other tests of the image, and what takes moments."""
    items.sort(key=lambda item: _place_of(item.path))


def _place_of(path: Path) -> int:
    if not _ON_ENGINES.intersection(path.parts):
        return 3
    if path.stem.startswith("test_image_"):
        return 2
    return 0 if path.stem == "test_image" else 1


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
