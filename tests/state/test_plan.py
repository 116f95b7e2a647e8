"""The gates of the plan, and what goes on between the parts of an app. The tables are in test_decision_table.py."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageState
from balena_supervisor.state.effects import preview
from balena_supervisor.state.own_services import SUPERVISOR_APPS
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.words import words_of
from balena_supervisor.state.world import Memory, Rules
from balena_supervisor.steps import (
    CleanupImages,
    CreateVolume,
    EnsureSupervisorNetwork,
    KillService,
    PullImage,
    ReleaseLocks,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    SaveImages,
    StartService,
    StopService,
    TakeLocks,
    UpdateMetadata,
)
from tests.state.worlds import (
    APP,
    app,
    container,
    converge,
    images,
    network,
    recompose,
    row,
    service,
    volume,
    world,
)

LOCKED = {APP: frozenset({"web", "other", "one", "two"})}
WEB = service("web")
CHANGED = service("web", environment={"A": "1"})
NEXT = service("web", commit="r2")
NEW_IMAGE = service("web", image="new", present=False, commit="r2")
ABSENT = service("web", present=False)


def words(planned: Plan) -> list[str]:
    return [words_of(step) for step in planned.steps]


def waits(planned: Plan) -> list[str]:
    return [entry.reason for entry in planned.waiting]


def test_a_changed_field_is_named_in_the_reason() -> None:
    planned = plan(world(container(WEB), of=[WEB]), [app(CHANGED)])
    assert "environment" in planned.steps[0].reason


def test_a_preloaded_container_of_a_legacy_app_is_not_made_again() -> None:
    labels = {"io.balena.legacy-container": "1", "io.balena.service-id": "99"}
    old = container(service("web", labels=labels), service_id=99)
    wanted = service("web", labels={"io.balena.service-id": "1"})
    assert words(plan(world(old, of=[WEB]), [app(wanted)])) == []
    other = service("other")
    assert "kill web" in words(plan(world(old, of=[WEB, other], locks=LOCKED), [app(wanted, other)]))


def test_the_newest_of_two_containers_is_kept() -> None:
    old, new = container(WEB, number=1), container(WEB, number=2)
    (step,) = plan(world(new, old, of=[WEB], locks=LOCKED), [app(WEB)]).steps
    assert isinstance(step, KillService)
    assert step.container == old


def test_services_without_dependency_start_together() -> None:
    one, two = service("one"), service("two")
    assert words(plan(world(of=[one, two]), [app(one, two)])) == ["start one", "start two"]


def test_a_cycle_of_dependencies_waits_and_names_the_cycle() -> None:
    one, two = service("one", depends_on=["two"]), service("two", depends_on=["one"])
    planned = plan(world(of=[one, two]), [app(one, two)])
    assert words(planned) == []
    assert "its dependencies form a cycle: one → two → one" in waits(planned)


def test_a_chain_of_five_hundred_dependencies_is_planned() -> None:
    names = [f"s{number:03d}" for number in range(500)]
    chain = [service(name, depends_on=names[max(0, i - 1) : i]) for i, name in enumerate(names)]
    assert words(plan(world(of=chain), [app(*reversed(chain))])) == ["start s000"]


def test_nothing_is_planned_for_a_busy_subject() -> None:
    planned = plan(world(of=[WEB]), [app(WEB)], busy=frozenset({f"service:{APP}:web"}))
    assert words(planned) == []
    assert not planned.empty


def test_a_network_that_left_the_target_goes_after_its_users() -> None:
    web = service("web", networks=["front"])
    wanted = service("web")
    current = world(container(web), of=[web], networks=(network(), network("front")))
    end, plans = converge(current, [app(wanted)])
    order = [type(step) for planned in plans for step in planned.steps]
    assert order.index(KillService) < order.index(RemoveNetwork)
    assert [entry.name for entry in end.networks] == ["default"]


def test_what_a_start_under_way_may_use_is_not_removed_below_it() -> None:
    """A start of an older target creates a container that nobody sees yet."""
    now = world(of=[WEB], networks=(network(), network("old")), volumes=(volume(),))
    under_way = frozenset({f"service:{APP}:web"})
    kept = plan(now, [app(WEB)], busy=under_way)
    assert words(kept) == []
    assert "network old is removed when the step on web has ended: it is not in the target" in waits(kept)
    gone = plan(now, [], rules=Rules(keep_images=True), busy=under_way)
    assert words(gone) == []
    assert waits(gone) == [f"app {APP} is not in the target and is removed when the step on web has ended"]
    later = plan(world(container(WEB), of=[WEB], networks=(network(), network("old"))), [app(WEB)], busy=under_way)
    assert words(later) == ["remove network old"]


def test_a_changed_volume_stops_every_service_that_uses_it() -> None:
    one, two, other = service("one", volumes=["data"]), service("two", volumes=["data"]), service("other")
    target = app(one, two, other, volumes=[volume(driver="nfs")])
    there = [container(one), container(two), container(other)]
    current = world(*there, of=[one, two, other], volumes=(volume(),), locks=LOCKED)
    first = plan(current, [target])
    assert words(first) == ["kill one", "kill two"]
    end, plans = converge(current, [target])
    assert [type(s) for s in plans[1].steps] == [RemoveVolume]
    assert [type(s) for s in plans[2].steps] == [CreateVolume]
    assert [entry.config.driver for entry in end.volumes] == ["nfs"]


def test_what_never_becomes_as_the_target_wants_it_is_used_as_it_is() -> None:
    user = service("web", volumes=["data"])
    wanted = app(user, networks=[network(options={"a": "b"})], volumes=[volume(options={"a": "b"})])
    now = world(container(user), of=[user], volumes=(volume(),), locks=LOCKED)
    left = {f"network:{APP}:default": "why", f"volume:{APP}:data": "why not"}
    assert words(plan(now, [wanted], memory=Memory(left={}))) == ["kill web"]
    settled = plan(now, [wanted], memory=Memory(left=left))
    assert words(settled) == [f"release the update locks of app {APP}"]
    assert waits(settled) == ["why", "why not"]
    gone = plan(now, [app(service("web", networks=["new"]), networks=[network("new")])], memory=Memory(left=left))
    assert words(gone) == ["kill web", "create network new"]


def test_two_networks_of_one_name_are_both_replaced() -> None:
    twice = world(of=[], networks=(network(), network()))
    planned = plan(twice, [app()])
    assert [type(step) for step in planned.steps] == [RemoveNetwork]


def test_a_volume_that_left_the_release_is_kept() -> None:
    current = world(container(WEB), of=[WEB], volumes=(volume(),))
    assert plan(current, [app(WEB)]).empty


@pytest.mark.parametrize("keep", [True, False])
def test_a_removed_app_goes_in_order_and_its_volumes_by_the_rules(keep: bool) -> None:
    current = world(container(WEB), of=[WEB], volumes=(volume(),))
    end, plans = converge(current, [], Rules(keep_volumes=keep))
    kinds = [[type(step) for step in planned.steps] for planned in plans]
    assert kinds[:2] == [[TakeLocks], [KillService]]
    assert [kind for kind in kinds[2] if kind is not RemoveImage] == [RemoveNetwork, *([] if keep else [RemoveVolume])]
    assert kinds[-1] == [ReleaseLocks]
    assert not end.locks
    assert bool(end.volumes) == keep


def test_an_app_that_cannot_be_built_is_left_alone_and_the_others_go_on() -> None:
    broken = ComposedApp(app_id=8, app_uuid="uuid8", name="other", commit="x", problem="cannot read service x")
    theirs = msgspec.structs.replace(container(WEB), app_id=8)
    planned = plan(world(theirs, of=[WEB]), [broken, app(WEB)])
    assert words(planned) == ["start web"]
    assert waits(planned) == ["cannot read service x"]
    assert plan(world(theirs, container(WEB), of=[WEB]), [broken, app(WEB)]).empty


def test_the_supervisor_network_comes_before_any_service() -> None:
    planned = plan(world(of=[WEB], supervisor_network_ready=False), [app(WEB)])
    assert [type(step) for step in planned.steps] == [EnsureSupervisorNetwork]


def test_users_of_a_wrong_supervisor_network_are_all_killed_first() -> None:
    label = {"io.balena.features.supervisor-api": "1"}
    users = [service(name, labels=label) for name in ("a", "c")]
    plain = service("b")
    current = world(*map(container, [users[0], plain, users[1]]), of=[*users, plain], supervisor_network_ready=False)
    assert words(plan(current, [app(*users, plain)])) == ["kill a", "kill c"]


def test_images_are_removed_only_when_nobody_needs_them_and_not_in_local_mode() -> None:
    old = service("old", image="old")
    current = world(container(WEB), images=images(WEB, old))
    assert [type(s) for s in plan(current, [app(WEB)]).steps] == [RemoveImage]
    assert plan(current, [app(WEB)], rules=Rules(keep_images=True)).empty


@pytest.mark.parametrize(("name", "removed"), [("main", False), ("helper", True)])
def test_the_image_of_the_supervisor_itself_is_never_removed(name: str, removed: bool) -> None:
    own = msgspec.structs.replace(service(name, image="own"), app_id=99, app_uuid=min(SUPERVISOR_APPS))
    steps = plan(world(container(WEB), images=images(WEB, own)), [app(WEB)]).steps
    assert any(isinstance(step, RemoveImage) for step in steps) == removed


def test_images_of_a_rejected_app_are_kept_and_noted_but_never_pulled() -> None:
    here, absent = service("here"), service("absent", image="absent", present=False)
    state = ImageState(details=images(here).details)
    rejected = app(here, absent, rejected=True, problem="here lacks a GPU")
    planned = plan(world(images=state), [rejected])
    assert words(planned) == ["register image of here"]
    assert waits(planned) == ["here lacks a GPU"]
    assert plan(world(images=images(here)), [rejected]).steps == ()


def test_images_of_an_app_that_cannot_be_built_are_kept() -> None:
    current = world(container(WEB), images=images(WEB))
    assert plan(current, [app(problem="cannot read")]).steps == ()


def test_dangling_images_are_cleaned_up_outside_local_mode() -> None:
    current = world(
        container(WEB),
        images=ImageState(rows=(row(WEB),), available=(row(WEB),), details=images(WEB).details, cleanup=("sha256:x",)),
    )
    assert [type(s) for s in plan(current, [app(WEB)]).steps] == [CleanupImages]
    assert plan(current, [app(WEB)], rules=Rules(keep_images=True)).empty


def test_one_save_step_registers_all_images() -> None:
    one, two = service("one", image="one"), service("two", image="two")
    state = ImageState(details=images(one, two).details)
    (step,) = plan(world(images=state), [app(one, two)]).steps
    assert isinstance(step, SaveImages)
    assert {entry.service_name for entry in step.refs} == {"one", "two"}


def test_a_settled_app_gets_its_commit_stored() -> None:
    planned = plan(world(container(NEXT), of=[NEXT]), [app(NEXT)])
    assert [(update.app_id, update.commit) for update in planned.commits] == [(APP, "r2")]


def test_the_preview_of_an_update_shows_its_rounds_in_order() -> None:
    target = [app(NEW_IMAGE)]
    current = world(container(WEB), of=[WEB])
    rounds = preview(current, lambda state: recompose(target, state))
    kinds = [[type(step) for step in entry.steps] for entry in rounds]
    assert kinds[0] == [PullImage]
    assert kinds[1:3] == [[TakeLocks], [KillService]]
    assert StartService in kinds[3]
    assert kinds[-1] == [ReleaseLocks]
    assert rounds[-1].commits[0].commit == "r2"


@pytest.mark.parametrize(
    ("step_type", "expected"),
    [(StopService, "stop web"), (RemoveContainer, "remove web"), (KillService, "kill web")],
)
def test_steps_in_words(step_type: Any, expected: str) -> None:
    assert words_of(step_type(container=container(WEB))) == expected
    assert words_of(UpdateMetadata(container=container(WEB), name="n")) == "rename web to n"
