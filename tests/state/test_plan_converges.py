"""From any current state to any target, the plan ends, and on the way breaks none of its promises."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from balena_supervisor.messages import (
    KillService,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    StartService,
    Step,
)
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageDetails, ImageRow, ImageState
from balena_supervisor.model.service import Service
from balena_supervisor.state.plan import plan
from balena_supervisor.state.plan_images import image_of
from balena_supervisor.state.world import Rules, World, uses_network, uses_volume
from tests.state.worlds import app, container, converge, network, recompose, service, volume

NAMES = ("a", "b", "c")
IMAGES = ("red", "blue")
NETWORKS = ("default", "front")
STATUSES = ("Running", "Installed", "exited", "Dead")


@st.composite
def services(draw: st.DrawFn, name: str, earlier: tuple[str, ...], commit: str) -> Service:
    return service(
        name,
        image=draw(st.sampled_from(IMAGES)),
        present=False,
        commit=commit,
        running=draw(st.booleans()) if not earlier else True,
        networks=draw(st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique=True)),
        volumes=draw(st.lists(st.just("data"), max_size=1)),
        environment=draw(st.dictionaries(st.just("A"), st.sampled_from("12"), max_size=1)),
        labels=draw(st.dictionaries(st.just("io.balena.features.supervisor-api"), st.just("1"), max_size=1)),
    )


@st.composite
def targets(draw: st.DrawFn) -> list[ComposedApp]:
    if draw(st.integers(0, 7)) == 0:
        return []
    commit = draw(st.sampled_from(["r1", "r2"]))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True).map(sorted))
    made = [draw(services(name, (), commit)) for name in names]
    # A service may only depend on one that is started: the others are waited for, which is right but never ends.
    for index, one in enumerate(made):
        runs = [other.service_name for other in made[:index] if other.running]
        depends = tuple(draw(st.lists(st.sampled_from(runs), unique=True))) if runs else ()
        made[index] = msgspec.structs.replace(one, depends_on=depends)
    networks = [network(name, internal=draw(st.booleans())) for name in NETWORKS]
    volumes = [volume(driver=draw(st.sampled_from(["local", "nfs"])))]
    return [app(*made, networks=networks, volumes=volumes, commit=commit)]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    engine = [service(image, image=image) for image in draw(st.lists(st.sampled_from(IMAGES), unique=True))]
    details: dict[str, Any] = {s.image_name: ImageDetails(id=s.docker_image_id or "") for s in engine}
    made = []
    for number in range(draw(st.integers(0, 4))):
        origin = draw(services(draw(st.sampled_from(NAMES)), (), draw(st.sampled_from(["r1", "r2"]))))
        built = recompose([app(origin)], ImageState(details=details))[0].services[0]
        made.append(container(built, status=draw(st.sampled_from(STATUSES)), number=number))
    rows = tuple(
        ImageRow(id=number, ref=image_of(of), docker_image_id=of.docker_image_id) for number, of in enumerate(engine, 1)
    )
    networks = draw(st.lists(st.sampled_from([network(n, internal=i) for n in NETWORKS for i in (True, False)])))
    volumes = draw(st.lists(st.sampled_from([volume(), volume(driver="nfs")]), max_size=1))
    return World(
        containers=tuple(made),
        networks=tuple(networks),
        volumes=tuple(volumes),
        images=ImageState(rows=rows, available=rows, details=details),
        supervisor_network_ready=draw(st.booleans()),
    )


def promises(now: World, step: Step) -> None:
    """What no step may ever break."""
    if isinstance(step, RemoveNetwork):
        assert not any(uses_network(c, step.network) for c in now.containers)
    if isinstance(step, RemoveVolume):
        assert not any(uses_volume(c, step.volume) for c in now.containers)
    if isinstance(step, RemoveImage):
        holders = [r for r in now.images.available if r.docker_image_id == step.row.docker_image_id]
        used = [c for c in now.containers if c.docker_image_id == step.row.docker_image_id]
        assert not used or len(holders) > 1
    if isinstance(step, StartService):
        assert now.supervisor_network_ready
        names = {n.engine_name for n in now.networks}
        assert set(step.service.config.networks) <= names
        assert not [
            c for c in now.containers if c.service_name == step.service.service_name and c.config != step.service.config
        ]
    if isinstance(step, KillService):
        assert step.container in now.containers


@settings(max_examples=300, deadline=None)
@given(worlds(), targets(), st.booleans())
def test_the_plan_converges_from_any_state_to_any_target(start: World, target: list[ComposedApp], local: bool) -> None:
    rules = Rules(keep_images=local, keep_volumes=local)
    end, _ = converge(start, target, rules, watch=promises)
    wanted = {s.service_name: s for a in target for s in recompose(target, end.images)[0].services}
    assert {c.service_name for c in end.containers} == set(wanted)
    for there in end.containers:
        assert there.config == wanted[there.service_name].config
        assert there.commit == wanted[there.service_name].commit
        assert there.status != "Installed" or not wanted[there.service_name].running
    assert {n.name for n in end.networks} == {n.name for a in target for n in a.networks}
    assert plan(end, recompose(target, end.images), rules=rules).empty


@settings(max_examples=100, deadline=None)
@given(worlds(), targets())
def test_no_two_steps_of_a_round_have_one_subject(start: World, target: list[ComposedApp]) -> None:
    _, plans = converge(start, target)
    for planned in plans:
        subjects = [step.subject for step in planned.steps]
        assert len(subjects) == len(set(subjects))
