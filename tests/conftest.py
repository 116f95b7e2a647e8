"""What holds for every test."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tools.dev_parts.registry import registry_in

# machines of different speed run the same examples; a slow one is no failure
settings.register_profile("supervisor", deadline=None)
settings.load_profile("supervisor")

_END_S = 5.0


#: tests that share engines and ports; those of one file also share names and what is started for the file
_ON_ENGINES = frozenset({"integration", "engine_sim", "tools"})
_IMAGE = "test_image"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The image is built first, while other workers go on, and what takes long comes before what takes moments."""
    items.sort(key=lambda item: (_group_of(item.nodeid) != _IMAGE, _group_of(item.nodeid) == item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker runs a file of tests on engines; xdist's own groups by mark have no effect with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid)

    return ByGroup(config, log)


def _group_of(nodeid: str) -> str:
    """What one worker runs in a row: a file of tests on engines (for the image, all of its files), else one test."""
    path = Path(nodeid.partition("::")[0])
    if not _ON_ENGINES.intersection(path.parts):
        return nodeid
    return _IMAGE if path.name.startswith(_IMAGE) and "integration" in path.parts else str(path)


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
