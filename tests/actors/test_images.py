"""The images actor on a simulated engine with a real database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from balena_supervisor.actors.images import IGNORE_S, parallel_pulls
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.messages import ConfigChanged, ImagesChanged, TargetChanged
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageRef, ImageState
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.own_services import SUPERVISOR_APPS
from balena_supervisor.steps import CleanupImages, PullImage, RemoveImage, SaveImages, StepDone, StepFailed
from tests.actors.worker_bench import APP_ID, APP_UUID, WorkerBench, bench

MIB = 1024 * 1024


@pytest.fixture
def images(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def ref(name: str, release_id: int = 20) -> ImageRef:
    return ImageRef(
        name=name,
        app_id=APP_ID,
        app_uuid=APP_UUID,
        service_id=7,
        service_name="main",
        image_id=10,
        release_id=release_id,
        commit="abc",
    )


def target(version: int, *names: str) -> TargetChanged:
    services = tuple(
        TargetService(
            service_name="main",
            service_id=7,
            image_id=10,
            image=name,
            app_id=APP_ID,
            app_uuid=APP_UUID,
            release_id=20,
            commit="abc",
        )
        for name in names
    )
    app = TargetApp(app_id=APP_ID, app_uuid=APP_UUID, name="app", services=services)
    return TargetChanged(target=TargetState(version=version, is_set=True, apps=(app,)))


def last(images: WorkerBench) -> ImageState:
    return images.post.of(ImagesChanged)[-1].images


def test_a_download_that_a_newer_target_does_not_want_is_given_up(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/old:1", paused=True)
    images.images(tmp_path)
    images.deliver(target(1, "a.io/old:1"))
    number = images.begin(PullImage(ref=ref("a.io/old:1")))
    images.post.wait_for(ImagesChanged, lambda event: any(task.progress for task in event.images.tasks))
    images.deliver(target(2, "a.io/new:1"))
    outcome = images.outcome(number)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.code == "withdrawn"
    assert last(images).tasks == ()


def test_a_download_of_an_image_that_the_target_does_not_want_is_not_begun(images: WorkerBench, tmp_path: Path) -> None:
    images.images(tmp_path)
    images.deliver(target(1, "a.io/new:1"))
    assert images.failed(PullImage(ref=ref("a.io/old:1"))).error.code == "withdrawn"
    assert images.engine.calls_of("POST", "^/images/create$") == []


def test_the_download_of_an_app_that_is_rejected_now_is_given_up(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", paused=True)
    images.images(tmp_path)
    wanted = target(1, "a.io/x:1").target
    images.deliver(TargetChanged(target=wanted))
    number = images.begin(PullImage(ref=ref("a.io/x:1")))
    images.post.wait_for(ImagesChanged, lambda event: any(task.progress for task in event.images.tasks))
    apps = tuple(structs.replace(app, rejected=True) for app in wanted.apps)
    images.deliver(TargetChanged(target=structs.replace(wanted, version=2, apps=apps)))
    outcome = images.outcome(number)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.code == "withdrawn"


def test_a_disk_that_is_full_at_the_start_does_not_hide_the_engine(images: WorkerBench, tmp_path: Path) -> None:
    path = tmp_path / "database.sqlite"
    migrate(path, tmp_path / "config.json")
    database = open_database(path)
    ImageStore(database).save([(ref("a.io/gone:1"), None)])
    database.close()
    full = "CREATE TRIGGER full BEFORE DELETE ON image BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    with sqlite3.connect(path) as by_hand:
        by_hand.execute(full)
    images.images(tmp_path)
    images.engine.add_image("a.io/x:1")
    images.deliver(target(1, "a.io/x:1"))
    images.post.wait_for(ImagesChanged, lambda event: "a.io/x:1" in event.images.details)
    with sqlite3.connect(path) as by_hand:
        by_hand.execute("DROP TRIGGER full")
    images.deliver(target(2, "a.io/x:1"))
    images.post.wait_for(ImagesChanged, lambda event: event.images.target_version == 2 and not event.images.rows)


def test_a_pulled_image_has_its_row_in_the_picture_before_the_step_is_done(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", config={"Env": ["A=b"]})
    images.images(tmp_path)
    done = images.carry_out(PullImage(ref=ref("a.io/x:1")))
    assert isinstance(done, StepDone)
    shown = next(event for event in images.post.of(ImagesChanged) if event.seq == done.seen)
    assert [row.ref for row in shown.images.available] == [ref("a.io/x:1")]
    assert shown.images.details["a.io/x:1"].environment == {"A": "b"}
    assert shown.images.tasks == ()
    assert shown.busy == ()


def test_a_pull_under_way_shows_its_progress(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", (4 * MIB,), paused=True)
    images.images(tmp_path)
    number = images.begin(PullImage(ref=ref("a.io/x:1")))
    shown = images.post.wait_for(ImagesChanged, lambda event: [task.progress for task in event.images.tasks] == [25])
    assert [task.status for task in shown.images.tasks] == ["Downloading"]
    assert shown.busy == ("image:a.io/x:1",)
    images.engine.resume_pulls()
    assert isinstance(images.outcome(number), StepDone)


def test_an_image_that_is_there_is_not_pulled_and_gets_its_row(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    images.done(PullImage(ref=ref("a.io/x:1")))
    assert [row.ref for row in last(images).rows] == [ref("a.io/x:1")]
    assert images.engine.calls_of("POST", "^/images/create$") == []


def test_an_image_pulled_by_digest_is_tagged(images: WorkerBench, tmp_path: Path) -> None:
    name = f"a.io/x@{images.engine.add_remote_image('a.io/x:1')}"
    images.images(tmp_path)
    images.done(PullImage(ref=ref(name)))
    assert images.by_hand.inspect_image(name)["RepoTags"] == ["a.io/x:latest"]
    assert [row.ref.name for row in last(images).available] == [name]


def test_a_pull_that_fails_leaves_no_row_and_no_task(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", error="no space left on device")
    images.images(tmp_path)
    error = images.failed(PullImage(ref=ref("a.io/x:1"))).error
    assert error.message == "cannot pull image a.io/x:1: no space left on device"
    assert (last(images).rows, last(images).tasks) == ((), ())


def test_a_pull_without_a_sign_of_life_fails(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", paused=True)
    images.images(tmp_path, stall_s=0.2)
    error = images.failed(PullImage(ref=ref("a.io/x:1"))).error
    assert error.code == "engine-unavailable"
    assert "no progress" in error.message


def test_a_stopping_actor_gives_up_its_pulls(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_remote_image("a.io/x:1", paused=True)
    images.images(tmp_path)
    images.begin(PullImage(ref=ref("a.io/x:1")))
    images.post.wait_for(ImagesChanged, lambda event: bool(event.images.tasks))
    images.stop()  # the fixture fails if a thread is left


@pytest.mark.parametrize(
    ("configuration", "name", "login"),
    [
        (Configuration(api_endpoint="https://api", uuid="1234", device_api_key="key"), "a.io/x:1", ("d_1234", "key")),
        (Configuration(api_endpoint="https://api", uuid="1234", device_api_key="key"), "x:1", (None, None)),
        (Configuration(uuid="1234", device_api_key="key"), "a.io/x:1", (None, None)),
    ],
    ids=["managed", "no registry in the name", "unmanaged"],
)
def test_a_registry_gets_the_device_key_of_a_managed_device(
    images: WorkerBench, tmp_path: Path, configuration: Configuration, name: str, login: tuple[str | None, str | None]
) -> None:
    images.engine.add_remote_image(name)
    images.images(tmp_path)
    images.deliver(ConfigChanged(configuration=configuration))
    images.done(PullImage(ref=ref(name)))
    sent = images.engine.registry.logins[-1][1]
    assert (sent.get("username"), sent.get("password")) == login


def test_the_picture_covers_the_names_of_a_new_target(images: WorkerBench, tmp_path: Path) -> None:
    image_id = images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    images.deliver(target(3, "a.io/x", "a.io/x:1", "a.io/missing:1"))
    shown = images.post.wait_for(ImagesChanged, lambda event: event.images.target_version == 3)
    assert {name: one.id for name, one in shown.images.details.items()} == {"a.io/x:1": image_id}


def test_an_image_is_inspected_once(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    for version in (1, 2, 3):
        images.deliver(target(version, "a.io/x:1"))
    images.post.wait_for(ImagesChanged, lambda event: event.images.target_version == 3)
    assert len(images.engine.calls_of("GET", "^/images/.*[^n]/json$")) == 1


def test_an_image_that_somebody_loads_shows_by_its_event(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("b.io/y:1")
    images.images(tmp_path)
    images.deliver(target(1, "a.io/x:1"))
    images.by_hand.tag_image("b.io/y:1", "a.io/x", "1")
    images.post.wait_for(ImagesChanged, lambda event: "a.io/x:1" in event.images.details)


def test_rows_of_a_new_release_are_saved_in_one_step(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("a.io/x:1")
    images.engine.add_image("a.io/y:1")
    images.images(tmp_path)
    refs = (ref("a.io/x:1"), ref("a.io/x:1", 21), ref("a.io/y:1"))
    images.done(SaveImages(refs=refs))
    images.done(SaveImages(refs=refs))
    assert tuple(row.ref for row in last(images).available) == refs


def test_no_row_is_saved_when_one_image_is_missing(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    error = images.failed(SaveImages(refs=(ref("a.io/x:1"), ref("a.io/missing:1")))).error
    assert error.message == "cannot save image a.io/missing:1: the engine does not have it"
    assert last(images).rows == ()


def test_an_image_that_another_row_names_keeps_its_tag_and_the_last_row_takes_it_away(
    images: WorkerBench, tmp_path: Path
) -> None:
    images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    images.done(SaveImages(refs=(ref("a.io/x:1"), ref("a.io/x:1", 21))))
    first, second = last(images).rows
    images.done(RemoveImage(row=first))
    assert [row.ref.release_id for row in last(images).available] == [21]
    images.done(RemoveImage(row=second))
    assert last(images).rows == ()
    assert images.by_hand.list_images() == []
    images.done(RemoveImage(row=second))


def test_an_image_in_use_keeps_its_row(images: WorkerBench, tmp_path: Path) -> None:
    images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    images.done(SaveImages(refs=(ref("a.io/x:1"),)))
    images.engine.fail("DELETE", "^/images/", status=409, message="image is in use")
    assert "image is in use" in images.failed(RemoveImage(row=last(images).rows[0])).error.message
    assert len(last(images).rows) == 1


def test_an_image_that_cannot_be_cleaned_up_is_left_for_an_hour(images: WorkerBench, tmp_path: Path) -> None:
    dangling = images.engine.add_image("a.io/x:1")
    images.by_hand.tag_image(images.engine.add_image("a.io/y:1"), "a.io/x", "1")  # takes the tag away
    images.images(tmp_path)
    assert last(images).cleanup == (dangling,)
    images.engine.fail("DELETE", "^/images/", status=409, message="image is in use")
    images.done(CleanupImages(image_ids=(dangling,)))
    assert last(images).cleanup == ()
    images.clock.advance(IGNORE_S)
    images.done(CleanupImages(image_ids=(dangling,)))
    assert last(images).cleanup == ()
    assert len(images.by_hand.list_images()) == 1


def test_a_clean_up_spares_what_a_row_needs_by_now(images: WorkerBench, tmp_path: Path) -> None:
    image_id = images.engine.add_image("a.io/x:1")
    images.images(tmp_path)
    images.done(SaveImages(refs=(ref("a.io/x:1"),)))
    images.done(CleanupImages(image_ids=(image_id,)))
    assert len(last(images).available) == 1


def test_a_clean_up_spares_the_image_of_the_supervisor_whose_tag_has_moved_on(
    images: WorkerBench, tmp_path: Path
) -> None:
    own = images.engine.add_image("balena/x-supervisor:1")
    images.by_hand.create_container("balena_supervisor", {"Image": own})
    images.by_hand.tag_image(images.engine.add_image("a.io/newer:1"), "balena/x-supervisor", "1")
    dangling = images.engine.add_image("a.io/x:1")
    images.by_hand.tag_image(images.engine.add_image("a.io/y:1"), "a.io/x", "1")
    images.images(tmp_path, own_image="balena/x-supervisor:1")
    assert last(images).cleanup == (dangling,)


def test_rows_of_the_supervisors_own_service_are_deleted_at_start(images: WorkerBench, tmp_path: Path) -> None:
    image_id = images.engine.add_image("a.io/x:1")
    migrate(tmp_path / "database.sqlite", tmp_path / "config.json")
    database = open_database(tmp_path / "database.sqlite")
    own = structs.replace(ref("a.io/x:1"), app_uuid=min(SUPERVISOR_APPS))
    helper = structs.replace(own, service_name="helper")
    ImageStore(database).save([(own, image_id), (helper, image_id)])
    database.close()
    images.images(tmp_path)
    assert [row.ref for row in last(images).rows] == [helper]
    assert images.by_hand.inspect_image("a.io/x:1")["Id"] == image_id


def test_rows_are_repaired_at_start(images: WorkerBench, tmp_path: Path) -> None:
    """One row lacks its engine id, one image has lost its tag, and one row has lost its image."""
    tagged = images.engine.add_image("a.io/x:1")
    untagged = images.engine.add_image("b.io/other:1")
    migrate(tmp_path / "database.sqlite", tmp_path / "config.json")
    database = open_database(tmp_path / "database.sqlite")
    refs = (ref("a.io/x:1"), ref("a.io/y:1"), ref("a.io/z:1"))
    ImageStore(database).save(zip(refs, (None, untagged, "sha256:gone"), strict=True))
    database.close()
    images.images(tmp_path)
    assert [(row.ref.name, row.docker_image_id) for row in last(images).rows] == [
        ("a.io/x:1", tagged),
        ("a.io/y:1", untagged),
    ]
    assert images.by_hand.inspect_image("a.io/y:1")["Id"] == untagged


def test_pulls_of_different_images_run_at_the_same_time(images: WorkerBench, tmp_path: Path) -> None:
    names = ["a.io/x:1", "a.io/y:1"]
    for name in names:
        images.engine.add_remote_image(name, paused=True)
    images.images(tmp_path)
    numbers = [images.begin(PullImage(ref=ref(name))) for name in names]
    images.post.wait_for(ImagesChanged, lambda event: {task.ref.name for task in event.images.tasks} == set(names))
    images.engine.resume_pulls()
    assert all(isinstance(images.outcome(number), StepDone) for number in numbers)


@pytest.mark.parametrize(("memory", "pulls"), [(511 * MIB, 1), (512 * MIB, 3), (8192 * MIB, 3)])
def test_a_small_device_pulls_one_image_at_a_time(memory: int, pulls: int) -> None:
    assert parallel_pulls(memory) == pulls


def test_an_other_row_of_the_same_image_under_another_name_keeps_it(images: WorkerBench, tmp_path: Path) -> None:
    image_id = images.engine.add_image("a.io/x:1")
    images.by_hand.tag_image(image_id, "a.io/y", "1")
    images.images(tmp_path)
    images.done(SaveImages(refs=(ref("a.io/x:1"), ref("a.io/y:1"))))
    images.done(RemoveImage(row=structs.replace(last(images).rows[0])))
    assert [row.ref.name for row in last(images).available] == ["a.io/y:1"]
    assert images.by_hand.inspect_image(image_id)["RepoTags"] == ["a.io/y:1"]
