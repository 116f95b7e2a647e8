"""The workers on a real engine and registry."""

from __future__ import annotations

import pytest
from msgspec import structs

from balena_supervisor.actors.containers import Containers
from balena_supervisor.actors.images import Images
from balena_supervisor.actors.resources import Resources
from balena_supervisor.messages import ContainersChanged, ImagesChanged, ResourcesChanged
from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.resource import Volume
from balena_supervisor.state.compare import differences, network_differences, volume_differences
from balena_supervisor.state.create_body import create_body
from balena_supervisor.state.networks import network_body
from balena_supervisor.steps import (
    CreateNetwork,
    CreateVolume,
    KillService,
    PullImage,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    SaveImages,
    StartService,
    StepFailed,
    StopService,
    UpdateMetadata,
)
from tests.integration.workers import Workers
from tests.integration.workshop import Workshop

pytestmark = pytest.mark.engine


def ref(workshop: Workshop, name: str, release_id: int = 20) -> ImageRef:
    return ImageRef(
        name=name,
        app_id=workshop.app_id,
        app_uuid=workshop.app_uuid,
        service_id=7,
        service_name="main",
        image_id=10,
        release_id=release_id,
        commit=workshop.commit,
    )


def test_a_service_lives_from_start_to_kill(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    service = workers.workshop.service(workers.workshop.image())
    workers.done(containers, StartService(service=service, device_name="dev"))
    (running,) = workers.containers()
    assert (running.status, running.name) == ("Running", service.container_name)
    assert differences(running, service, {}) == ()

    next_commit = f"{service.commit}1"
    for _ in range(2):
        workers.done(containers, UpdateMetadata(container=running, name=f"main_11_21_{next_commit}"))
    assert workers.containers()[0].commit == next_commit

    for _ in range(2):
        workers.done(containers, StopService(container=running))
    assert workers.containers()[0].status == "exited"
    workers.done(containers, StartService(service=service))
    (again,) = workers.containers()
    assert (again.container_id, again.status) == (running.container_id, "Running")

    for _ in range(2):
        workers.done(containers, KillService(container=running))
    assert workers.containers() == ()


def test_twenty_services_start_and_end_together(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    image = workers.workshop.image()
    services = [workers.workshop.service(image, f"s{number}") for number in range(20)]
    workers.done(containers, *(StartService(service=service) for service in services))
    assert {container.status for container in workers.containers()} == {"Running"}
    assert len(workers.containers()) == 20
    workers.done(containers, *(KillService(container=container) for container in workers.containers()))
    assert workers.containers() == ()


def test_a_container_that_exits_or_is_removed_by_hand_shows_at_once(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    shop = workers.workshop
    service = shop.service(shop.image(), restart="no", command=("/bin/sh", "-c", "read line; exit 3"))
    workers.done(containers, StartService(service=service))
    (running,) = workers.containers()
    shop.client.kill(running.container_id)
    shown = workers.post.wait_for(ContainersChanged, lambda event: [c.exit_code for c in event.containers] == [137])
    shop.client.remove_container(running.container_id)
    workers.post.wait_for(ContainersChanged, lambda event: event.seq > shown.seq and not event.containers)


def test_a_create_that_outlived_its_caller_leaves_one_container(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    shop = workers.workshop
    service = shop.service(shop.image())
    body = create_body(service, device_name="", instance=shop.instance, container_ids={})
    shop.abandon(f"/containers/create?name={service.container_name}", body)
    workers.done(containers, StartService(service=service))
    assert [container.status for container in workers.containers()] == ["Running"]


def test_a_create_that_outlived_its_caller_leaves_one_network(workers: Workers) -> None:
    resources = workers.start(Resources, ResourcesChanged)
    shop = workers.workshop
    shop.abandon("/networks/create", network_body(shop.network(), shop.instance))
    workers.done(resources, CreateNetwork(network=shop.network()))
    assert [found.name for found in workers.post.of(ResourcesChanged)[-1].networks] == ["default"]


def test_a_container_that_cannot_be_started_is_kept_and_says_why(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    shop = workers.workshop
    service = shop.service(shop.image(), command=("/nowhere",))
    (failed,) = workers.carry_out(containers, StartService(service=service))
    assert isinstance(failed, StepFailed)
    assert "/nowhere" in failed.error.message
    assert [container.status for container in workers.containers()] == ["Installed"]


def test_a_missing_network_is_named(workers: Workers) -> None:
    containers = workers.start(Containers, ContainersChanged)
    shop = workers.workshop
    service = shop.service(shop.image(), network=f"{shop.app_uuid}_missing")
    (failed,) = workers.carry_out(containers, StartService(service=service))
    assert isinstance(failed, StepFailed)
    assert f"{shop.app_uuid}_missing" in failed.error.message


def test_networks_and_volumes_are_made_once_and_removed(workers: Workers) -> None:
    resources = workers.start(Resources, ResourcesChanged)
    shop = workers.workshop
    network, volume = shop.network(), Volume(app_id=shop.app_id, app_uuid=shop.app_uuid, name="data")
    for _ in range(2):
        workers.done(resources, CreateNetwork(network=network), CreateVolume(volume=volume))
    picture = workers.post.of(ResourcesChanged)[-1]
    assert [network_differences(found, network) for found in picture.networks] == [()]
    assert [volume_differences(found, volume) for found in picture.volumes] == [()]
    for _ in range(2):
        workers.done(resources, RemoveNetwork(network=network), RemoveVolume(volume=volume))
    picture = workers.post.of(ResourcesChanged)[-1]
    assert (picture.networks, picture.volumes) == ((), ())


def test_a_service_is_on_all_its_networks(workers: Workers) -> None:
    resources = workers.start(Resources, ResourcesChanged)
    containers = workers.start(Containers, ContainersChanged)
    shop = workers.workshop
    front, back = shop.network("front"), shop.network("back")
    workers.done(resources, CreateNetwork(network=front), CreateNetwork(network=back))
    service = shop.service(shop.image(), network=front.engine_name)
    networks = dict.fromkeys((front.engine_name, back.engine_name), service.config.networks[front.engine_name])
    service = structs.replace(service, config=structs.replace(service.config, networks=networks))
    workers.done(containers, StartService(service=service))
    (running,) = workers.containers()
    assert set(running.config.networks) == {front.engine_name, back.engine_name}
    assert differences(running, service, {}) == ()
    workers.done(containers, KillService(container=running))
    workers.done(resources, RemoveNetwork(network=front), RemoveNetwork(network=back))


def test_an_image_lives_from_pull_to_removal(workers: Workers) -> None:
    images = workers.start(Images, ImagesChanged)
    shop = workers.workshop
    name = shop.image(size=20_000_000, pushed=True)
    workers.done(images, PullImage(ref=ref(shop, name)))
    pictures = workers.post.of(ImagesChanged)
    progress = [task.progress for picture in pictures for task in picture.images.tasks]
    assert progress == sorted(progress)  # type: ignore[type-var]  # a pull always has a progress
    assert len(set(progress)) > 1
    assert pictures[-1].images.details[name].id == shop.image_id(name)

    workers.done(images, PullImage(ref=ref(shop, name)), SaveImages(refs=(ref(shop, name, 21),)))
    rows = workers.post.of(ImagesChanged)[-1].images.available
    assert [row.ref.release_id for row in rows] == [20, 21]
    workers.done(images, RemoveImage(row=rows[0]))
    assert shop.image_id(name)
    workers.done(images, RemoveImage(row=rows[1]))
    assert shop.client.images(name=name.rpartition(":")[0]) == []


def test_an_image_is_pulled_by_its_digest(workers: Workers) -> None:
    images = workers.start(Images, ImagesChanged)
    shop = workers.workshop
    name = shop.image_by_digest()
    workers.done(images, PullImage(ref=ref(shop, name)))
    state = workers.post.of(ImagesChanged)[-1].images
    assert [row.ref.name for row in state.available] == [name]
    assert name in state.details
    workers.done(images, RemoveImage(row=state.rows[0]))
    assert workers.post.of(ImagesChanged)[-1].images.details == {}
    assert shop.client.images(name=name.partition("@")[0]) == []


def test_an_image_that_the_registry_does_not_have_is_a_failed_step(workers: Workers) -> None:
    images = workers.start(Images, ImagesChanged)
    name = f"{workers.workshop.registry}/{workers.workshop.instance}-missing:1"
    (failed,) = workers.carry_out(images, PullImage(ref=ref(workers.workshop, name)))
    assert isinstance(failed, StepFailed)
    assert failed.error.message.startswith(f"cannot pull image {name}: ")
