"""A part of an image is gone from the disk of the engine."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import APIError

from balena_supervisor.actors.images import Images
from balena_supervisor.messages import ImagesChanged
from balena_supervisor.steps import PullImage, StepFailed
from tests.integration.own_engine import OwnEngine, own_engine
from tests.integration.test_workers import ref
from tests.integration.workers import Workers
from tests.integration.workshop import Workshop

pytestmark = [pytest.mark.engine, pytest.mark.root]


@pytest.fixture(scope="module")
def lossy_engine() -> Iterator[OwnEngine]:
    with own_engine() as made:
        yield made


@pytest.fixture
def workers(lossy_engine: OwnEngine, tmp_path: Path) -> Iterator[Workers]:
    workshop = Workshop(lossy_engine.url, "127.0.0.1:5000")
    made = Workers(workshop, tmp_path)
    yield made
    made.stop()
    workshop.clean_up()


def lose(engine: OwnEngine, workshop: Workshop, name: str, part: str) -> None:
    """Stop the engine, take a part of the only layer of an image away, and start it again."""
    seen = workshop.client.inspect_image(name)  # type: ignore[no-untyped-call]  # types-docker lacks it
    content = Path(seen["GraphDriver"]["Data"]["UpperDir"])
    layers = content.parent.parent.parent / "image/overlay2/layerdb/sha256"
    record = layers / seen["RootFS"]["Layers"][0].removeprefix("sha256:")
    engine.end(signal.SIGTERM)
    shutil.rmtree({"content": content, "layer": content.parent, "record": record}[part])
    engine.start()


def refusal(workshop: Workshop, name: str) -> str:
    """What the engine says when it shall make a container of the image; nothing when it can."""
    try:
        container = workshop.client.create_container(name)
    except APIError as error:
        return f"{error.status_code} {error.explanation}"
    workshop.client.remove_container(container["Id"])
    return ""


def test_an_image_whose_layer_is_lost_is_mended_by_an_ordinary_pull(lossy_engine: OwnEngine, workers: Workers) -> None:
    name = lossy_engine.image("lost/layer", size=1000)
    images = workers.start(Images, ImagesChanged)
    workers.done(images, PullImage(ref=ref(workers.workshop, name)))
    lose(lossy_engine, workers.workshop, name, "layer")
    refused = refusal(workers.workshop, name)
    assert refused.startswith("500 open ")
    assert refused.endswith("/committed: no such file or directory")
    workers.done(images, PullImage(ref=ref(workers.workshop, name)))
    assert refusal(workers.workshop, name) == ""


def test_an_image_whose_content_is_lost_is_mended_when_it_is_pulled_anew(
    lossy_engine: OwnEngine, workers: Workers
) -> None:
    """Here only the making of a container fails, so the planner has to say so."""
    name = lossy_engine.image("lost/content", size=1000)
    images = workers.start(Images, ImagesChanged)
    workers.done(images, PullImage(ref=ref(workers.workshop, name)))
    lose(lossy_engine, workers.workshop, name, "content")
    assert refusal(workers.workshop, name).startswith("500 error creating overlay mount")
    workers.done(images, PullImage(ref=ref(workers.workshop, name), anew=True))
    assert refusal(workers.workshop, name) == ""


def test_a_layer_that_the_engine_has_forgotten_is_named_as_the_reason(
    lossy_engine: OwnEngine, workers: Workers
) -> None:
    """Engine 20.10 keeps the configuration of such an image where no call removes it, and so fetches nothing again."""
    name = lossy_engine.image("lost/record", size=1000)
    images = workers.start(Images, ImagesChanged)
    workers.done(images, PullImage(ref=ref(workers.workshop, name)))
    lose(lossy_engine, workers.workshop, name, "record")
    assert refusal(workers.workshop, name) == "500 layer does not exist"
    (failed,) = workers.carry_out(images, PullImage(ref=ref(workers.workshop, name), anew=True))
    assert isinstance(failed, StepFailed)
    assert (failed.error.code, failed.error.fields["status"]) == ("image-broken", 500)
    assert "the engine has lost a layer" in failed.error.message
