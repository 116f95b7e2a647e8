"""What must be so when a plan has come to its end, worked out without the planner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.service import COMPLETED, HEALTHY, Container, Service
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.plan import Plan
from balena_supervisor.state.plan_app import LEGACY_CONTAINER
from balena_supervisor.state.world import World
from tests.state.any_world import LATE_ADDRESS, refs
from tests.state.simulation import Simulation

_RUNS = {"Running", "paused", "restarting"}


def bound(world: World, target: Sequence[ComposedApp]) -> int:
    """How many rounds a plan may need: a few kinds of steps one after the other, each as often as one subject has
    things to be done in a row (containers or rows of one name), and the longest chain of services of an app."""
    containers = Counter((c.app_id, c.service_name) for c in world.containers)
    rows = Counter(row.ref.name for row in world.images.available)
    chain = max((len(app.services) for app in target), default=0)
    return 14 + max(containers.values(), default=0) + max(rows.values(), default=0) + 3 * chain


def _never_fulfils(condition: str, containers: Sequence[Container]) -> bool:
    """Whether what is there will not do what is waited for by itself."""
    if condition == COMPLETED:
        return not any(c.status == "exited" and c.exit_code == 0 for c in containers)
    return condition == HEALTHY and not any(c.status in _RUNS and c.health != "unhealthy" for c in containers)


def can_wait_for_ever(app: ComposedApp, end: World) -> set[str]:
    """Services that need, over however many others, one that will not be started: on a cycle of dependencies, or one
    that shall not run, or does not become what they wait for, or the network of one that the release does not have."""
    services = {service.service_name: service for service in app.services}
    there = {name: [c for c in _of(app, end) if c.service_name == name] for name in services}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        ahead = list(services[name].depends_on)
        while ahead:
            other = ahead.pop()
            if other in services and other not in found:
                found.add(other)
                ahead.extend(services[other].depends_on)
        return found

    def hopeless(name: str) -> bool:
        other = shares_service(services[name].config.network_mode)
        unmet = [n for n, c in services[name].depends_on.items() if n in services and _never_fulfils(c, there[n])]
        return name in reached(name) or bool(other and other not in services) or bool(unmet)

    def never_starts(name: str) -> bool:
        return hopeless(name) or not services[name].running

    return {name for name in services if hopeless(name) or any(map(never_starts, reached(name)))}


def check_outcome(begun: World, device: Simulation, last: Plan) -> None:
    """``begun`` is the state in which nothing else was under way; ``last`` the plan that had no step."""
    waits = {(wait.app_id, wait.service_name) for wait in last.waiting if not wait.settled}
    apps = {app.app_id: app for app in device.composed()}
    for app in apps.values():
        if app.rejected or app.problem:
            _left_alone(app, begun, device.world)
            continue
        names = {name for app_id, name in waits if app_id == app.app_id}
        assert names <= can_wait_for_ever(app, device.world), last.waiting
        assert names or app.app_id not in device.world.locks
        _check_app(app, begun, device, names)
    assert {app_id for app_id, _ in waits} <= apps.keys(), last.waiting
    assert device.world.locks.keys() <= apps.keys()
    assert last.empty == (not waits)
    assert {c.app_id for c in device.world.containers} | {n.app_id for n in device.world.networks} <= apps.keys()
    kept = {v.engine_name for v in begun.volumes if v.app_id in apps or device.rules.keep_volumes}
    assert kept <= {v.engine_name for v in device.world.volumes}
    if not device.rules.keep_volumes:
        assert not any(v.app_id not in apps for v in device.world.volumes)
    _check_images(begun, device)


def is_right(container: Container, world: World, apps: Sequence[ComposedApp]) -> bool:
    """Whether a container is what the target wants, but for its release and whether it runs, with all that it uses."""
    app = next((app for app in apps if app.app_id == container.app_id), None)
    service = next((s for s in app.services if s.service_name == container.service_name), None) if app else None
    if app is None or service is None or container.config != service.config:
        return False
    alone = [c for c in _of(app, world) if c.service_name == container.service_name] == [container]
    networks = [(n.engine_name, n.config) for n in world.networks if n.engine_name in container.config.networks]
    volumes = {v.name: v.config for v in world.volumes if v.app_id == app.app_id}
    wanted = {n.engine_name: n.config for n in app.networks}
    return (
        alone
        and world.supervisor_network_ready
        and all(config == wanted[name] for name, config in networks)
        and len(networks) == len(dict(networks))
        and all(volumes.get(v.name) == v.config for v in app.volumes)
    )


def _check_app(app: ComposedApp, begun: World, device: Simulation, waiting: set[str]) -> None:
    end, stopped = device.world, device.stopped
    wanted = {service.service_name: service for service in app.services}
    there = {name: [c for c in _of(app, end) if c.service_name == name] for name in wanted}
    assert {c.service_name for c in _of(app, end)} <= wanted.keys()
    for name, service in wanted.items():
        assert len(there[name]) <= 1
        if name not in waiting:
            _check_service(
                service, there[name][0], {n: c[0].container_id for n, c in there.items() if c}, begun, stopped
            )
    networks = [(n.engine_name, n.config) for n in end.networks if n.app_id == app.app_id]
    assert sorted(networks, key=str) == sorted(((n.engine_name, n.config) for n in app.networks), key=str)
    volumes = {v.name: v.config for v in end.volumes if v.app_id == app.app_id}
    assert {v.name: v.config for v in app.volumes}.items() <= volumes.items()
    settled = begun.commits.get(app.app_id) if waiting else app.commit
    assert end.commits.get(app.app_id) == settled


def _check_service(
    service: Service, container: Container, ids: dict[str, str], begun: World, stopped: AbstractSet[str]
) -> None:
    """It is what the target wants; if it does not run, its own restart policy or the target let it be so."""
    have, want = container.config, service.config
    other = shares_service(want.network_mode)
    mode = f"container:{ids[other]}" if other else want.network_mode
    assert (have.environment, have.networks) == (want.environment, want.networks)
    assert sorted(have.volumes) == sorted(want.volumes)  # their order says nothing
    assert (have.image, have.network_mode, container.commit) == (want.image, mode, service.commit)
    assert have.labels == want.labels or LEGACY_CONTAINER in have.labels
    if not service.running:
        assert container.status in {"Installed", "exited"}
    elif container.status not in _RUNS:
        before = next(c for c in begun.containers if c.container_id == container.container_id)
        assert (before.status, container.status) == ("exited", "exited")
        assert before.exit_error != LATE_ADDRESS
        assert container.container_id not in stopped, "it runs no more because a target let it stop"


def _left_alone(app: ComposedApp, begun: World, end: World) -> None:
    """Only users of a wrong ``supervisor0`` may have been removed."""
    kept = {c.container_id for c in _of(app, end)}
    before = {c.container_id for c in _of(app, begun)}
    assert kept <= before
    assert kept == before or not begun.supervisor_network_ready
    assert [n for n in end.networks if n.app_id == app.app_id] == [n for n in begun.networks if n.app_id == app.app_id]
    assert [v for v in end.volumes if v.app_id == app.app_id] == [v for v in begun.volumes if v.app_id == app.app_id]


def _check_images(begun: World, device: Simulation) -> None:
    """Each service has its row, and without a reason to keep them there are no others. What was kept is still there."""
    wanted = refs(device.target)
    images = device.world.images
    before = {row.ref for row in begun.images.available}
    assert wanted | before & device.rules.kept <= {row.ref for row in images.available}
    if device.rules.keep_images:
        return
    used = {c.docker_image_id for c in device.world.containers}
    alone = {app.app_id for app in device.target if app.rejected or app.problem}
    for row in images.available:
        means = {row.docker_image_id, images.details[row.ref.name].id}
        needed = row.ref in wanted | device.rules.kept
        assert needed or means & used or row.ref.app_id in alone, row


def _of(app: ComposedApp, world: World) -> list[Container]:
    return [container for container in world.containers if container.app_id == app.app_id]
