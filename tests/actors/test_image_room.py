"""Room for images: the images actor on a simulated engine, with a disk and a registry that the test makes up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from balena_supervisor.actors.image_room import ESTIMATE_S, FULL_S, FULL_UNSEEN_S, TAG_KNOWN_S, Login, RoomPorts
from balena_supervisor.messages import ConfigChanged, ImagesChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import DiskSpace, Platform, RemoteImage, RemoteLayer
from balena_supervisor.state.disk import MB, START_EXPANSION, reserve_bytes
from balena_supervisor.steps import PullImage, StepDone, StepFailed
from tests.actors.test_images import last, ref, target
from tests.actors.worker_bench import WorkerBench, bench
from tests.fakes.engine.pulls import layer_digest

NAME = "a.io/x:1"
TOTAL = 1000 * MB
FULL = "write /var/lib/docker/tmp/GetImageBlob7: no space left on device"


@dataclass
class Surroundings:
    """``usable`` is what the disk has beyond the reserve, None if it cannot be seen."""

    usable: int | None = 100 * MB
    #: name without tag -> layers that its registry tells
    remote: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str, Login | None]] = field(default_factory=list)

    def platform(self) -> Platform:
        return Platform(architecture="amd64")

    def space(self) -> DiskSpace | None:
        if self.usable is None:
            return None
        return DiskSpace(total_bytes=TOTAL, free_bytes=self.usable + reserve_bytes(TOTAL))

    def layer_sizes(self, image: str) -> list[int]:  # noqa: ARG002  # all images look the same here
        return self.sizes

    def look_up(
        self, registry: str, repository: str, reference: str, *, platform: Platform, login: Login | None
    ) -> RemoteImage | None:
        assert platform == self.platform()
        self.asked.append((registry, repository, reference, login))
        layers = self.remote.get(f"{registry}/{repository}")
        if layers is None:
            return None
        return RemoteImage(layers=tuple(RemoteLayer(diff_id=name, size_bytes=size) for name, size in layers.items()))


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def images(tmp_path: Path, around: Surroundings) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        made.images(tmp_path, room=RoomPorts(look_up=around.look_up, disk=lambda _: around))
        yield made


def pulls(images: WorkerBench) -> int:
    return len(images.engine.calls_of("POST", "^/images/create$"))


def offer(images: WorkerBench, around: Surroundings, name: str, *sizes: int, paused: bool = False) -> None:
    """An image in the registry whose layers have the digests that the engine will tell of them."""
    digest = images.engine.add_remote_image(name, tuple(sizes), paused=paused)
    repository = name.rpartition(":")[0]
    around.remote[repository] = {layer_digest(digest, number): size for number, size in enumerate(sizes)}


def test_an_image_without_room_is_refused_with_the_figures_and_goes_on_when_there_is_some(
    images: WorkerBench, around: Surroundings
) -> None:
    offer(images, around, NAME, 50 * MB, 50 * MB)
    error = images.failed(PullImage(ref=ref(NAME))).error
    assert error.code == "no-space"
    assert error.message == f"cannot pull image {NAME}: needs 250 MB, 100 MB free"
    assert (error.fields["needs_bytes"], error.fields["free_bytes"]) == (250 * MB, 100 * MB)
    around.usable = 250 * MB
    images.done(PullImage(ref=ref(NAME)))


def test_a_refused_image_is_never_shown_as_being_downloaded(images: WorkerBench, around: Surroundings) -> None:
    offer(images, around, NAME, 500 * MB)
    images.failed(PullImage(ref=ref(NAME)))
    assert [event for event in images.post.of(ImagesChanged) if event.images.tasks] == []
    assert pulls(images) == 0


def test_the_registry_is_asked_once_for_an_image_that_waits(images: WorkerBench, around: Surroundings) -> None:
    offer(images, around, NAME, 500 * MB)
    for _ in range(3):
        images.failed(PullImage(ref=ref(NAME)))
    assert around.asked == [("a.io", "x", "1", None)]
    images.clock.advance(TAG_KNOWN_S)  # by then the tag may be that of another image
    images.failed(PullImage(ref=ref(NAME)))
    assert len(around.asked) == 2


def test_a_digest_stays_known(images: WorkerBench, around: Surroundings) -> None:
    digest = "sha256:" + "ab" * 32
    around.remote["a.io/x"] = {"sha256:a": 500 * MB}
    for _ in range(2):
        images.failed(PullImage(ref=ref(f"a.io/x@{digest}")))
        images.clock.advance(TAG_KNOWN_S)
    assert around.asked == [("a.io", "x", digest, None)]


def test_what_is_known_of_an_image_is_forgotten_when_the_target_does_not_want_it(
    images: WorkerBench, around: Surroundings
) -> None:
    offer(images, around, NAME, 500 * MB)
    for version, name in enumerate((NAME, "a.io/other:1", NAME), 1):
        images.deliver(target(version, name))
        images.carry_out(PullImage(ref=ref(NAME)))
    assert len(around.asked) == 2


def test_the_registry_is_told_the_key_of_a_managed_device(images: WorkerBench, around: Surroundings) -> None:
    images.engine.add_remote_image(NAME)
    images.deliver(ConfigChanged(configuration=Configuration(api_endpoint="https://api", uuid="1", device_api_key="k")))
    images.done(PullImage(ref=ref(NAME)))
    assert around.asked == [("a.io", "x", "1", ("d_1", "k"))]


@pytest.mark.parametrize("usable", [0, None], ids=["a registry that tells nothing", "a disk that cannot be seen"])
def test_what_is_not_known_holds_up_nothing(images: WorkerBench, around: Surroundings, usable: int | None) -> None:
    images.engine.add_remote_image(NAME)
    around.usable = usable
    images.done(PullImage(ref=ref(NAME)))
    assert len(around.asked) == (0 if usable is None else 1)


def test_layers_that_the_engine_has_need_no_room(images: WorkerBench, around: Surroundings) -> None:
    offer(images, around, "a.io/base:1", 50 * MB)
    around.usable = 200 * MB
    images.done(PullImage(ref=ref("a.io/base:1")))
    around.usable = 50 * MB
    images.engine.add_remote_image(NAME)
    around.remote["a.io/x"] = {**around.remote["a.io/base"], "sha256:top": 10 * MB}
    images.done(PullImage(ref=ref(NAME)))
    around.remote["a.io/y"] = {"sha256:under": 1, **around.remote["a.io/base"]}
    assert images.failed(PullImage(ref=ref("a.io/y:1"))).error.code == "no-space"


def test_what_other_pulls_will_still_write_is_not_free(images: WorkerBench, around: Surroundings) -> None:
    offer(images, around, "a.io/first:1", 30 * MB, paused=True)
    offer(images, around, NAME, 20 * MB)
    first = images.begin(PullImage(ref=ref("a.io/first:1")))
    images.post.wait_for(ImagesChanged, lambda event: any(task.progress for task in event.images.tasks))
    percent = last(images).tasks[0].progress or 0
    error = images.failed(PullImage(ref=ref(NAME))).error
    assert error.fields["free_bytes"] == 100 * MB - 75 * MB * (100 - percent) // 100
    images.engine.resume_pulls()
    assert isinstance(images.outcome(first), StepDone)
    images.done(PullImage(ref=ref(NAME)))


def test_how_much_layers_grow_is_learned_from_what_was_pulled(images: WorkerBench, around: Surroundings) -> None:
    around.usable = 1000 * MB
    offer(images, around, "a.io/first:1", 100 * MB)
    around.sizes = [0, 100 * MB, 0]
    images.done(PullImage(ref=ref("a.io/first:1")))
    offer(images, around, NAME, 100 * MB)
    around.usable = 50 * MB
    needs = images.failed(PullImage(ref=ref(NAME))).error.fields["needs_bytes"]
    assert 100 * MB < needs < 120 * MB < START_EXPANSION * 100 * MB


def fill(images: WorkerBench, name: str = NAME) -> StepFailed:
    images.engine.add_remote_image(name, error=FULL)
    return images.failed(PullImage(ref=ref(name)))


def test_a_pull_that_has_filled_the_disk_waits_for_more_room_than_there_was(
    images: WorkerBench, around: Surroundings
) -> None:
    around.remote["a.io/x"] = {"sha256:a": 10 * MB}
    error = fill(images).error
    assert (error.code, error.message) == ("no-space", f"cannot pull image {NAME}: needs 111 MB, 100 MB free")
    images.engine.add_remote_image(NAME)
    assert images.failed(PullImage(ref=ref(NAME))).error == error
    assert pulls(images) == 1
    around.usable = 111 * MB
    images.done(PullImage(ref=ref(NAME)))


def test_a_disk_that_is_too_full_to_begin_a_pull_is_full_as_well(images: WorkerBench, around: Surroundings) -> None:
    images.engine.fail("POST", "^/images/create$", message=FULL)
    assert (
        images.failed(PullImage(ref=ref(NAME))).error.message == f"cannot pull image {NAME}: needs 111 MB, 100 MB free"
    )
    assert len(around.asked) == 1


def test_an_image_that_was_pulled_while_another_filled_the_disk_is_tried_again_alone(
    images: WorkerBench, around: Surroundings
) -> None:
    offer(images, around, "a.io/big:1", 1 * MB, paused=True)
    big = images.begin(PullImage(ref=ref("a.io/big:1")))
    images.post.wait_for(ImagesChanged, lambda event: bool(event.images.tasks))
    assert fill(images).error.code == "no-space"
    images.engine.add_remote_image(NAME)
    assert images.failed(PullImage(ref=ref(NAME))).error.code == "no-space"
    assert pulls(images) == 2
    images.engine.resume_pulls()
    assert isinstance(images.outcome(big), StepDone)
    images.done(PullImage(ref=ref(NAME)))


def test_a_full_disk_may_have_been_somebody_elses_doing(images: WorkerBench, around: Surroundings) -> None:
    around.remote["a.io/x"] = {"sha256:a": 10 * MB}
    fill(images)
    images.engine.add_remote_image(NAME)
    images.clock.advance(FULL_S)
    images.done(PullImage(ref=ref(NAME)))


def test_an_image_that_has_waited_long_is_tried_in_spite_of_the_estimate(
    images: WorkerBench, around: Surroundings
) -> None:
    offer(images, around, NAME, 100 * MB)
    images.failed(PullImage(ref=ref(NAME)))
    images.clock.advance(ESTIMATE_S - 1)
    images.failed(PullImage(ref=ref(NAME)))
    images.clock.advance(1)
    images.done(PullImage(ref=ref(NAME)))


def test_an_image_is_tried_in_spite_of_the_estimate_once(images: WorkerBench, around: Surroundings) -> None:
    around.remote["a.io/x"] = {"sha256:a": 100 * MB}
    images.engine.add_remote_image(NAME, error=FULL)
    for _ in range(4):
        images.failed(PullImage(ref=ref(NAME)))
        images.clock.advance(ESTIMATE_S)
    assert pulls(images) == 1


@pytest.mark.parametrize("larger", [False, True])
def test_an_image_that_is_larger_than_the_room_or_not_alone_is_not_tried(
    images: WorkerBench, around: Surroundings, larger: bool
) -> None:
    offer(images, around, "a.io/first:1", 0, paused=True)
    offer(images, around, NAME, (101 if larger else 100) * MB)
    first = images.begin(PullImage(ref=ref("a.io/first:1")))
    images.post.wait_for(ImagesChanged, lambda event: bool(event.images.tasks))
    images.failed(PullImage(ref=ref(NAME)))
    images.clock.advance(ESTIMATE_S)
    images.failed(PullImage(ref=ref(NAME)))
    images.engine.resume_pulls()
    assert isinstance(images.outcome(first), StepDone)
    assert isinstance(images.carry_out(PullImage(ref=ref(NAME))), StepFailed if larger else StepDone)


def test_a_disk_that_cannot_be_seen_is_not_filled_again_at_once(images: WorkerBench, around: Surroundings) -> None:
    around.usable = None
    error = fill(images).error
    assert (error.code, error.message) == ("no-space", f"cannot pull image {NAME}: {FULL}")
    images.engine.add_remote_image(NAME)
    again = images.failed(PullImage(ref=ref(NAME))).error
    assert (again.code, again.fields["cause"]) == ("no-space", "no space left on device")
    assert pulls(images) == 1
    images.clock.advance(FULL_UNSEEN_S)
    images.done(PullImage(ref=ref(NAME)))


def test_another_image_is_pulled_while_one_waits_for_room(images: WorkerBench, around: Surroundings) -> None:
    offer(images, around, NAME, 500 * MB)
    offer(images, around, "a.io/small:1", 1 * MB)
    images.failed(PullImage(ref=ref(NAME)))
    images.done(PullImage(ref=ref("a.io/small:1")))
