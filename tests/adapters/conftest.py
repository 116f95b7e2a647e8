from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine.simulated import SimulatedEngine


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedEngine]:
    with SimulatedEngine(tmp_path) as running:
        yield running
