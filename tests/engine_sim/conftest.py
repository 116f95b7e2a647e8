from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.engine_sim.sides import IMAGE_CONFIGS, Side, build_context, real_socket
from tests.fakes.engine import SimulatedEngine


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    tag = f"parity{uuid4().hex[:10]}"
    real = Side(real_socket(), tag)
    with SimulatedEngine(tmp_path_factory.mktemp("sim")) as engine:
        for name, config in IMAGE_CONFIGS.items():
            # a label of its own keeps the image from being a step of another one's build, which cannot be removed
            labels = quote(json.dumps({"parity.of": tag}))
            status, text = real.call("POST", f"/build?t={tag}-{name}&rm=1&labels={labels}", raw=build_context(config))
            assert (status, "Successfully built" in text) == (200, True), text
            # HEALTHCHECK, STOPSIGNAL and the like of a build are given to the simulated image as its configuration
            inspected = real.call("GET", f"/images/{tag}-{name}/json")[1]["Config"]
            engine.add_image(f"{tag}-{name}", inspected)
        try:
            yield real, Side(str(engine.socket_path), tag)
        finally:
            real.clean()
            for name in IMAGE_CONFIGS:
                real.call("DELETE", f"/images/{tag}-{name}?force=1")


@pytest.fixture
def both(sides: tuple[Side, Side]) -> Iterator[tuple[Side, Side]]:
    yield sides
    for side in sides:
        side.clean()
