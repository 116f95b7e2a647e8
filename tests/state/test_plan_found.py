"""What generated states and targets have brought to light, one test for each."""

from __future__ import annotations

from typing import Any

import msgspec

from balena_supervisor.model.image import ImageDetails, ImageRow, ImageState, ImageTask
from balena_supervisor.model.service import STARTED, Service
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.strategies import STRATEGY
from balena_supervisor.state.world import Memory, World
from balena_supervisor.steps import (
    CleanupImages,
    KillService,
    PullImage,
    RemoveImage,
    RemoveNetwork,
    SaveImages,
    StartService,
)
from tests.state.worlds import APP, app, container, images, network, ref, row, service, world


def of_kind(planned: Plan, kind: type[Any]) -> list[Any]:
    return [step for step in planned.steps if isinstance(step, kind)]


def of_release(one: Service, number: int) -> Service:
    return msgspec.structs.replace(one, commit=f"r{number}", release_id=number)


def test_a_network_that_the_app_had_under_another_uuid_is_made_anew() -> None:
    web = service("web")
    local = msgspec.structs.replace(network(), app_uuid=str(APP), engine_name=f"{APP}_default")
    here = world(container(web), of=[web], networks=(local,))
    planned = plan(here, [app(web)])
    assert [step.reason for step in of_kind(planned, KillService)] == []
    (removal,) = of_kind(planned, RemoveNetwork)
    assert removal.reason == "the engine has it as 7_default instead of uuid7_default"


def test_a_right_network_stays_beside_one_that_the_app_had_under_another_uuid() -> None:
    web = service("web")
    other = msgspec.structs.replace(network(), app_uuid=str(APP), engine_name=f"{APP}_default")
    planned = plan(world(container(web), of=[web], networks=(network(), other)), [app(web)])
    assert of_kind(planned, KillService) == []
    assert [step.network for step in of_kind(planned, RemoveNetwork)] == [other]


def test_a_service_that_shares_the_network_of_one_that_the_release_lacks_is_not_started() -> None:
    web = service("web")
    web = msgspec.structs.replace(
        web,
        depends_on={"vpn": STARTED},
        config=msgspec.structs.replace(web.config, networks={}, network_mode="service:vpn"),
    )
    planned = plan(world(of=[web]), [app(web)])
    assert planned.steps == ()
    assert [wait.reason for wait in planned.waiting] == ["shares the network of vpn, which the release does not have"]


def saved_for_another_release() -> tuple[Service, World]:
    """The engine has the image by the row of an older release only, and no container of it."""
    old = service("web")
    return of_release(old, 2), world(of=[old])


def test_an_image_is_not_removed_in_the_round_in_which_it_is_saved_for_another_release() -> None:
    new, here = saved_for_another_release()
    planned = plan(here, [app(new)])
    assert [step.refs for step in of_kind(planned, SaveImages)] == [(ref(new),)]
    assert of_kind(planned, RemoveImage) == []


def test_no_image_is_removed_while_rows_are_being_saved() -> None:
    web, other = service("web"), service("other", image="other")
    here = world(container(web), of=[web, other])
    assert len(of_kind(plan(here, [app(web)]), RemoveImage)) == 1
    assert of_kind(plan(here, [app(web)], busy=frozenset({"images:rows"})), RemoveImage) == []


def test_no_row_is_saved_of_an_image_that_is_being_removed() -> None:
    new, here = saved_for_another_release()
    planned = plan(here, [app(new)], busy=frozenset({f"image:{new.image_name}"}))
    assert of_kind(planned, SaveImages) == []


def test_no_service_is_started_while_its_image_is_being_removed() -> None:
    web = service("web")
    assert len(of_kind(plan(world(of=[web]), [app(web)]), StartService)) == 1
    removal = ImageTask(ref=ref(web), status="Deleting")
    planned = plan(world(images=msgspec.structs.replace(images(web), tasks=(removal,))), [app(web)])
    assert of_kind(planned, StartService) == []
    assert [wait.reason for wait in planned.waiting] == ["its image is being removed, as an older target wanted it"]


def test_the_image_of_a_service_that_is_being_started_is_kept() -> None:
    web = service("web")
    here = world(of=[web])
    assert len(of_kind(plan(here, []), RemoveImage)) == 1
    assert of_kind(plan(here, [], busy=frozenset({f"service:{APP}:web"})), RemoveImage) == []


def test_the_image_of_a_container_is_kept_when_the_engine_id_of_its_row_is_missing_or_old() -> None:
    web = service("web")
    for known in (None, "sha256:of-an-older-image-with-this-tag"):
        rows = (ImageRow(id=1, ref=row(web).ref, docker_image_id=known),)
        details = {web.image_name: ImageDetails(id=web.docker_image_id or "")}
        state = ImageState(rows=rows, available=rows, details=details)
        here = world(container(web), of=[], images=state, networks=())
        assert of_kind(plan(here, []), RemoveImage) == []
        gone = msgspec.structs.replace(here, containers=())
        assert len(of_kind(plan(gone, []), RemoveImage)) == 1


def test_a_container_does_not_hold_the_row_whose_tag_has_moved_on() -> None:
    """The row of its own release would be kept, and the only name that its image still has removed."""
    web = service("web")
    mine = row(web)
    other = ImageRow(
        id=2, ref=msgspec.structs.replace(mine.ref, name="old:1", commit="r0"), docker_image_id="sha256:img"
    )
    details = {web.image_name: ImageDetails(id="sha256:newer"), "old:1": ImageDetails(id="sha256:img")}
    state = ImageState(rows=(mine, other), available=(mine, other), details=details)
    here = world(container(web), of=[], images=state, networks=())
    assert [step.row for step in of_kind(plan(here, []), RemoveImage)] == []


def test_a_row_that_cannot_be_saved_holds_up_no_other_image() -> None:
    """On a full disk the save fails again and again, and what would make room is not removed."""
    web, old, twin = service("web"), service("old", image="old"), service("twin", image="twin")
    renamed = msgspec.structs.replace(row(web).ref, commit="r0")
    rows = (
        ImageRow(id=1, ref=renamed, docker_image_id=web.docker_image_id),
        ImageRow(id=2, ref=row(old).ref, docker_image_id=old.docker_image_id),
        ImageRow(id=3, ref=row(twin).ref, docker_image_id=web.docker_image_id),
    )
    details = {one.image_name: ImageDetails(id=one.docker_image_id or "") for one in (web, old)}
    state = ImageState(rows=rows, available=rows, details=details, cleanup=("sha256:x", web.docker_image_id or ""))
    planned = plan(world(of=[], images=state), [app(web)])
    assert len(of_kind(planned, SaveImages)) == 1
    assert [step.row.id for step in of_kind(planned, RemoveImage)] == [2]
    assert [step.image_ids for step in of_kind(planned, CleanupImages)] == [("sha256:x",)]


def test_nothing_is_removed_while_a_download_runs_and_one_that_waits_holds_up_nothing() -> None:
    """An engine may be about to use a layer of what is removed."""
    web, new, old = service("web"), service("new", image="new", present=False), service("old", image="old")
    state = msgspec.structs.replace(images(web, old), cleanup=("sha256:x",))
    target = [app(web, new)]
    idle = plan(world(container(web), of=[], images=state), target, busy=frozenset({"image:new:latest"}))
    assert [step.row.ref.name for step in of_kind(idle, RemoveImage)] == ["old:latest"]
    assert len(of_kind(idle, CleanupImages)) == 1
    loading = msgspec.structs.replace(state, tasks=(ImageTask(ref=ref(new), status="Downloading"),))
    busy = plan(world(container(web), of=[], images=loading), target, busy=frozenset({"image:new:latest"}))
    assert of_kind(busy, RemoveImage) + of_kind(busy, CleanupImages) == []


def test_a_broken_image_that_the_engine_does_not_have_is_pulled_by_the_strategy_of_its_service() -> None:
    old = service("web", image="old")
    new = service("web", image="new", present=False, labels={STRATEGY: "kill-then-download"})
    memory = Memory(broken=frozenset({"new:latest"}))
    assert of_kind(plan(world(container(old), of=[old]), [app(new)], memory=memory), PullImage) == []
