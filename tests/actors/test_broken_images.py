"""Images of which the engine has lost a part are pulled anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.messages import ImagesChanged
from balena_supervisor.steps import PullImage, SaveImages
from tests.actors.test_images import last, ref, target
from tests.actors.worker_bench import WorkerBench, bench

NAME = "a.io/x:1"
LOST = "stat /var/lib/docker/overlay2/12ab: no such file or directory"


@pytest.fixture
def images(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def test_an_image_that_is_pulled_anew_loses_all_its_names_first(images: WorkerBench, tmp_path: Path) -> None:
    before = images.engine.add_image(NAME)
    images.by_hand.tag_image(before, "b.io/y", "2")
    images.engine.add_remote_image(NAME, config={"Env": ["A=b"]})
    images.images(tmp_path)
    images.done(SaveImages(refs=(ref(NAME),)))
    images.done(PullImage(ref=ref(NAME), anew=True))
    after = images.by_hand.inspect_image(NAME)["Id"]
    assert [image["Id"] for image in images.by_hand.list_images()] == [after]
    assert after != before
    assert [(row.ref, row.docker_image_id) for row in last(images).available] == [(ref(NAME), after)]


def test_names_that_cannot_be_taken_away_do_not_keep_an_image_from_being_pulled_anew(
    images: WorkerBench, tmp_path: Path
) -> None:
    images.engine.add_image(NAME)
    images.engine.add_remote_image(NAME)
    images.images(tmp_path)
    images.engine.fail("DELETE", "^/images/", status=409, message="image is being used by running container")
    images.done(PullImage(ref=ref(NAME), anew=True))
    assert len(images.engine.calls_of("POST", "^/images/create$")) == 1


def test_an_image_that_the_target_does_not_want_keeps_its_names(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image(NAME)
    images.images(tmp_path)
    images.deliver(target(1, "a.io/other:1"))
    assert images.failed(PullImage(ref=ref(NAME), anew=True)).error.code == "withdrawn"
    assert images.by_hand.inspect_image(NAME)["RepoTags"] == [NAME]


@pytest.mark.parametrize("words", [LOST, "layer does not exist", "unexpected end of JSON input"])
def test_an_image_that_the_engine_cannot_show_counts_as_missing_and_hides_no_other(
    images: WorkerBench, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str
) -> None:
    broken = images.engine.add_image(NAME)
    whole = images.engine.add_image("a.io/whole:1", config={"Env": ["A=b"]})
    images.engine.fail("GET", f"^/images/{broken}/json$", status=500, message=words, times=100)
    images.images(tmp_path)
    images.deliver(target(1, NAME, "a.io/whole:1"))
    shown = images.post.wait_for(ImagesChanged, lambda event: event.images.target_version == 1)
    assert {name: one.id for name, one in shown.images.details.items()} == {"a.io/whole:1": whole}
    assert shown.images.available == ()
    images.deliver(target(2, NAME, "a.io/whole:1"))
    images.post.wait_for(ImagesChanged, lambda event: event.images.target_version == 2)
    assert capfd.readouterr().out.count(words) == 1


def test_an_image_that_the_engine_cannot_show_says_why_it_is_not_pulled(images: WorkerBench, tmp_path: Path) -> None:
    broken = images.engine.add_image(NAME)
    images.engine.fail("GET", f"^/images/{broken}/json$", message="unexpected end of JSON input", times=100)
    images.images(tmp_path)
    assert "unexpected end of JSON input" in images.failed(PullImage(ref=ref(NAME))).error.message
    assert images.by_hand.list_images()[0]["RepoTags"] == [NAME]
    images.engine.faults.clear()
    images.done(PullImage(ref=ref(NAME)))
    assert last(images).details[NAME].id == broken


def test_an_image_that_has_lost_a_layer_is_pulled_anew_without_being_told(images: WorkerBench, tmp_path: Path) -> None:
    broken = images.engine.add_image(NAME)
    images.engine.add_remote_image(NAME, config={"Env": ["A=b"]})
    images.engine.fail("GET", f"^/images/{broken}/json$", status=500, message=LOST, times=100)
    images.images(tmp_path)
    images.done(PullImage(ref=ref(NAME)))
    assert images.by_hand.inspect_image(NAME)["Id"] != broken
    assert [row.docker_image_id for row in last(images).available] == [images.by_hand.inspect_image(NAME)["Id"]]


def test_a_layer_that_stays_lost_is_a_failure(images: WorkerBench, tmp_path: Path) -> None:
    """As when a container keeps the engine from forgetting the layer, which it therefore does not fetch."""
    images.engine.add_image(NAME)
    images.engine.add_remote_image(NAME)
    images.engine.fail("GET", "^/images/sha256:[^/]+/json$", status=500, message=LOST, times=100)
    images.images(tmp_path)
    error = images.failed(PullImage(ref=ref(NAME))).error
    assert error.code == "image-broken"
    assert "has lost a layer" in error.message
    assert last(images).rows == ()
