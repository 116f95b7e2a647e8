"""The resources actor on a simulated engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from balena_supervisor.actors.resource_jobs import POOL_TRIES
from balena_supervisor.actors.resources import ResourcePorts, Resources
from balena_supervisor.messages import ResourcesChanged
from balena_supervisor.model.resource import Volume, VolumeConfig
from balena_supervisor.state.networks import network_body, supervisor_network_body
from balena_supervisor.steps import (
    CreateNetwork,
    CreateVolume,
    EnsureSupervisorNetwork,
    RemoveNetwork,
    RemoveVolume,
    StepDone,
)
from tests.actors.worker_bench import APP_ID, APP_UUID, WorkerBench, bench, network

DATA = Volume(app_id=APP_ID, app_uuid=APP_UUID, name="data")


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def last(resources: WorkerBench) -> ResourcesChanged:
    return resources.post.of(ResourcesChanged)[-1]


def networks(resources: WorkerBench) -> list[str]:
    return [one["Name"] for one in resources.by_hand.list_networks() if one["Name"] not in {"bridge", "host", "none"}]


def test_a_created_network_is_in_the_picture_before_its_step_is_done(resources: WorkerBench) -> None:
    resources.resources()
    done = resources.carry_out(CreateNetwork(network=network()))
    assert isinstance(done, StepDone)
    shown = next(event for event in resources.post.of(ResourcesChanged) if event.seq == done.seen)
    assert [one.name for one in shown.networks] == ["default"]
    assert shown.busy == ()


def test_an_equal_network_is_not_created_again(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    resources.done(CreateNetwork(network=network()))
    assert len(resources.engine.calls_of("POST", "^/networks/create$")) == 1


def test_a_different_network_of_the_name_makes_the_creation_fail(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    error = resources.failed(CreateNetwork(network=network(internal=True))).error
    assert "one with other settings exists (internal)" in error.message
    assert error.fields["status"] == 409


def test_of_two_networks_of_one_name_the_oldest_stays(resources: WorkerBench) -> None:
    """As a create leaves them whose caller was killed while it was carried out."""
    resources.resources()
    body = network_body(network(), "")
    hanging = resources.engine.hang("POST", "^/networks/create$")
    number = resources.begin(CreateNetwork(network=network()))
    hanging.wait_reached()
    oldest = resources.by_hand.create_network({**body, "CheckDuplicate": False})
    hanging.release()
    assert isinstance(resources.outcome(number), StepDone)
    assert [one.engine_id for one in last(resources).networks] == [oldest]


def test_all_networks_of_an_app_and_name_are_removed(resources: WorkerBench) -> None:
    body = {**network_body(network(), ""), "CheckDuplicate": False}
    resources.by_hand.create_network(body)
    resources.by_hand.create_network(body)
    resources.by_hand.create_network(network_body(network("other"), ""))
    resources.resources()
    step = RemoveNetwork(network=network())
    resources.done(step)
    assert networks(resources) == [network("other").engine_name]
    resources.done(step)


def test_a_network_that_keeps_a_container_which_is_gone_is_freed_and_removed(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    resources.engine.leave_endpoint(network().engine_name, "ghost")
    resources.done(RemoveNetwork(network=network()))
    assert networks(resources) == []


_OVERLAP = "Pool overlaps with other one on this address space"


def test_an_engine_that_gives_two_networks_one_address_range_is_asked_again(resources: WorkerBench) -> None:
    resources.resources()
    resources.engine.fail("POST", "^/networks/create", status=403, message=_OVERLAP, times=POOL_TRIES - 1)
    resources.done(CreateNetwork(network=network()))
    resources.engine.fail("POST", "^/networks/create", status=403, message=_OVERLAP, times=POOL_TRIES)
    error = resources.failed(CreateNetwork(network=network("front"))).error
    assert error.message.endswith(_OVERLAP)


def test_a_network_on_which_the_engine_counts_nobody_says_what_helps(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    resources.engine.fail("DELETE", "^/networks/", status=403, message="network x has active endpoints")
    error = resources.failed(RemoveNetwork(network=network())).error
    assert error.message.startswith("cannot remove network default: ")
    assert "when it is restarted" in error.message


def test_a_network_in_use_names_its_users(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    image = resources.engine.add_image("a.io/x:1")
    body = {"Image": image, "Cmd": ["/bin/sh"], "HostConfig": {"NetworkMode": network().engine_name}}
    resources.by_hand.start_container(resources.by_hand.create_container("stranger", body))
    error = resources.failed(RemoveNetwork(network=network())).error
    assert error.message == "cannot remove network default: it is in use by stranger"


def test_a_right_supervisor_network_is_left_as_it_is(resources: WorkerBench) -> None:
    before = resources.by_hand.create_network(supervisor_network_body())
    resources.resources()
    assert last(resources).supervisor_network_ready
    resources.done(EnsureSupervisorNetwork())
    assert [one["Id"] for one in resources.by_hand.list_networks() if one["Name"] == "supervisor0"] == [before]


def test_a_wrong_supervisor_network_is_replaced(resources: WorkerBench) -> None:
    resources.by_hand.create_network({"Name": "supervisor0"})
    resources.resources()
    assert not last(resources).supervisor_network_ready
    resources.done(EnsureSupervisorNetwork())
    assert last(resources).supervisor_network_ready
    assert networks(resources) == ["supervisor0"]


def test_a_supervisor_network_that_somebody_else_just_made_is_fine(resources: WorkerBench) -> None:
    resources.resources()
    resources.engine.fail("POST", "^/networks/create$", status=403, phase="after", message="pool overlaps")
    resources.done(EnsureSupervisorNetwork())
    assert last(resources).supervisor_network_ready


def test_a_volume_is_created_once(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateVolume(volume=DATA))
    resources.done(CreateVolume(volume=DATA))
    assert [volume.engine_name for volume in last(resources).volumes] == ["77_data"]
    assert len(resources.engine.calls_of("POST", "^/volumes/create$")) == 1


def test_a_different_volume_of_the_name_makes_the_creation_fail(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateVolume(volume=DATA))
    other = structs.replace(DATA, config=VolumeConfig(labels={"a": "b"}))
    error = resources.failed(CreateVolume(volume=other)).error
    assert error.message == "cannot create volume 77_data: one with other settings exists (labels)"


def test_a_volume_that_is_gone_counts_as_removed(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateVolume(volume=DATA))
    resources.done(RemoveVolume(volume=DATA))
    assert last(resources).volumes == ()
    resources.done(RemoveVolume(volume=DATA))


def test_a_volume_in_use_makes_its_removal_fail(resources: WorkerBench) -> None:
    resources.resources()
    resources.done(CreateVolume(volume=DATA))
    resources.engine.fail("DELETE", "^/volumes/77_data$", status=409, message="volume is in use")
    assert "volume is in use" in resources.failed(RemoveVolume(volume=DATA)).error.message
    assert len(last(resources).volumes) == 1


def test_what_others_make_and_remove_shows_in_the_picture(resources: WorkerBench) -> None:
    resources.resources()
    resources.by_hand.create_volume({"Name": "5_x"})
    resources.post.wait_for(ResourcesChanged, lambda event: [one.name for one in event.volumes] == ["x"])
    resources.by_hand.create_network(network_body(network(), ""))
    shown = resources.post.wait_for(ResourcesChanged, lambda event: bool(event.networks))
    resources.by_hand.remove_network(shown.networks[0].engine_name)
    resources.post.wait_for(ResourcesChanged, lambda event: event.seq > shown.seq and not event.networks)


def test_volumes_of_other_forms_of_name_are_not_ours(resources: WorkerBench) -> None:
    for name in ("abc12_x", "12", "xx"):
        resources.by_hand.create_volume({"Name": name})
    resources.resources()
    resources.done(CreateVolume(volume=DATA))
    assert [volume.name for volume in last(resources).volumes] == ["data"]


def test_an_unreadable_network_is_left_out(resources: WorkerBench) -> None:
    resources.by_hand.create_network({"Name": "nonsense", "Labels": {"io.balena.supervised": "true"}})
    resources.resources()
    resources.done(CreateNetwork(network=network()))
    assert [one.name for one in last(resources).networks] == ["default"]


def test_an_unavailable_engine_at_start_is_a_state_with_a_reason(tmp_path: Path) -> None:
    with bench(tmp_path) as resources:
        resources.engine.die()
        resources.start(Resources, ResourcePorts(**resources.ports("resources")))
        down = resources.post.wait_for(ResourcesChanged, lambda event: "cannot be reached" in event.engine.reason)
        assert not down.engine.up
        resources.engine.revive()
        resources.post.wait_for(ResourcesChanged, lambda event: event.engine.up)
