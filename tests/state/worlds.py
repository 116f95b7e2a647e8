"""Builders of target apps and worlds for tests of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageDetails, ImageRef, ImageRow, ImageState
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import STARTED, Container, Endpoint, Service, ServiceConfig
from balena_supervisor.state.effects import commit_effect, effect
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.plan_images import image_of
from balena_supervisor.state.world import Rules, World
from balena_supervisor.steps import Step

APP = 7
UUID = "uuid7"


def network(name: str = "default", **config: Any) -> Network:
    wanted = Network(app_id=APP, app_uuid=UUID, name=name, engine_name=f"{UUID}_{name}")
    return msgspec.structs.replace(wanted, config=msgspec.structs.replace(wanted.config, **config))


def volume(name: str = "data", **config: Any) -> Volume:
    wanted = Volume(app_id=APP, app_uuid=UUID, name=name)
    return msgspec.structs.replace(wanted, config=msgspec.structs.replace(wanted.config, **config))


def service(  # one parameter for each thing that the plan looks at
    name: str,
    *,
    image: str = "img",
    present: bool = True,
    commit: str = "r1",
    running: bool = True,
    depends_on: Sequence[str] | dict[str, str] = (),
    networks: Sequence[str] = ("default",),
    volumes: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> Service:
    """A composed service; ``present`` says whether the engine has its image."""
    image_id = f"sha256:{image}"
    config = ServiceConfig(
        image=image_id if present else f"{image}:latest",
        network_mode=f"{UUID}_{networks[0]}",
        networks={f"{UUID}_{entry}": Endpoint(aliases=(name,)) for entry in networks},
        volumes=tuple(f"{APP}_{entry}:/{entry}" for entry in volumes),
        environment=environment or {},
        labels=labels or {},
    )
    return Service(
        app_id=APP,
        app_uuid=UUID,
        app_name="app",
        service_id=sum(map(ord, name)),
        service_name=name,
        image_id=5,
        release_id=int(commit[1:]),
        commit=commit,
        image_name=f"{image}:latest",
        docker_image_id=image_id if present else None,
        running=running,
        depends_on=dict(depends_on) if isinstance(depends_on, dict) else dict.fromkeys(depends_on, STARTED),
        config=config,
    )


def app(
    *services: Service, networks: Iterable[Network] = (), volumes: Iterable[Volume] = (), **fields: Any
) -> ComposedApp:
    commit = services[0].commit if services else "r1"
    defaults: dict[str, Any] = {"commit": commit, "release_id": 1, "name": "app"}
    return ComposedApp(
        app_id=APP,
        app_uuid=UUID,
        services=services,
        networks=tuple(networks) or (network(),),
        volumes=tuple(volumes),
        **{**defaults, **fields},
    )


def row(of: Service, number: int = 1) -> ImageRow:
    return ImageRow(id=number, ref=image_of(of), docker_image_id=of.docker_image_id or f"sha256:{of.image_name}")


def images(*services: Service) -> ImageState:
    """The engine has the images of these services, and a row of each."""
    rows = tuple(row(of, number) for number, of in enumerate(services, 1))
    details = {of.image_name: ImageDetails(id=of.docker_image_id or "") for of in services}
    return ImageState(rows=rows, available=rows, details=details)


def container(of: Service, *, status: str = "Running", number: int = 1, **fields: Any) -> Container:
    made = Container(
        container_id=f"{of.service_name}{number:04d}".ljust(64, "0"),
        name=of.container_name,
        app_id=of.app_id,
        app_uuid=of.app_uuid,
        service_id=of.service_id,
        service_name=of.service_name,
        image_id=of.image_id,
        release_id=of.release_id,
        commit=of.commit,
        status=status,
        created_at=f"2026-01-01T00:00:{number:02d}.000Z",
        docker_image_id=of.docker_image_id or "",
        config=of.config,
    )
    return msgspec.structs.replace(made, **fields)


def world(*containers: Container, of: Iterable[Service] = (), **fields: Any) -> World:
    """A world with these containers, the default network and the images of ``of``."""
    defaults: dict[str, Any] = {"networks": (network(),), "images": images(*of), "commits": {APP: "r1"}}
    return World(containers=containers, **{**defaults, **fields})


def recompose(target: Sequence[ComposedApp], state: ImageState) -> list[ComposedApp]:
    """The target as it looks once the engine has these images."""
    return [msgspec.structs.replace(a, services=tuple(_with_image(s, state) for s in a.services)) for a in target]


def _with_image(of: Service, state: ImageState) -> Service:
    found = state.details.get(of.image_name)
    image_id = found.id if found else None
    config = msgspec.structs.replace(of.config, image=image_id or of.image_name)
    return msgspec.structs.replace(of, docker_image_id=image_id, config=config)


def converge(
    start: World,
    target: Sequence[ComposedApp],
    rules: Rules = Rules(),  # noqa: B008  # frozen
    *,
    rounds: int = 40,
    watch: Callable[[World, Step], None] = lambda _world, _step: None,
) -> tuple[World, list[Plan]]:
    """Plan and take the effects until the plan is empty. Fails when that takes more than ``rounds``."""
    plans: list[Plan] = []
    current = start
    while True:
        planned = plan(current, recompose(target, current.images), rules=rules)
        if planned.empty:
            return current, plans
        if len(plans) == rounds or not (planned.steps or planned.commits):
            raise AssertionError(f"does not converge: {plans[-3:]} then {planned}")
        plans.append(planned)
        for step in planned.steps:
            watch(current, step)
            current = effect(step, current)
        for update in planned.commits:
            current = commit_effect(update, current)


def ref(of: Service) -> ImageRef:
    return image_of(of)
