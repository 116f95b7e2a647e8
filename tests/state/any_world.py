"""Strategies for any state that a device may be in, and any target that it may be given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageDetails, ImageRef, ImageRow, ImageState, ImageTask
from balena_supervisor.model.resource import Network, NetworkConfig, Volume, VolumeConfig
from balena_supervisor.model.service import (
    COMPLETED,
    HEALTHY,
    STARTED,
    Container,
    ContainerTask,
    Endpoint,
    Service,
    ServiceConfig,
)
from balena_supervisor.state import labels
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.state.image_name import same_image
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.plan_app import LEGACY_CONTAINER
from balena_supervisor.state.plan_images import image_of
from balena_supervisor.state.strategies import STRATEGIES, STRATEGY
from balena_supervisor.state.world import Rules, World
from tests.state import worlds

T = TypeVar("T")
R = TypeVar("R", Network, Volume)
#: app id -> uuids that the app may have: of the cloud, and the one of local mode
APPS = {7: ("uuid7", "7"), 8: ("uuid8", "8"), 9: ("uuid9",)}
NAMES = ("a", "b", "c", "d")
NETWORKS = ("default", "front", "back")
VOLUMES = ("data", "logs")
COMMITS = ("r1", "r2")
_DIGEST = "@sha256:" + "e" * 64
#: image name -> id of the image that it means; two tags of one image, and one digest in two places
IMAGES = {
    "red:1": "sha256:red",
    "crimson:1": "sha256:red",
    "blue:1": "sha256:blue",
    f"one/green{_DIGEST}": "sha256:green",
    f"two/green{_DIGEST}": "sha256:green",
}
STATUSES = ("Running", "Running", "Installed", "exited", "exited", "Dead", "paused", "restarting", "removing")
LATE_ADDRESS = "driver failed: Error starting userland proxy: listen tcp: cannot assign requested address"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """A state with what is under way in it. ``stopped`` are containers that a target let stop."""

    world: World
    stopped: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()


_seeds = st.integers(0, 9999)


@cache
def one_of(*values: Any) -> st.SearchStrategy[Any]:
    """Any of the values. Strategies are kept: to make one takes longer than to draw from it."""
    return st.sampled_from(values)


@cache
def some(values: tuple[Any, ...], most: int = 2) -> st.SearchStrategy[list[Any]]:
    """A few of the values, each at most once, in any order."""
    return st.lists(st.sampled_from(values), max_size=most, unique=True)


@cache
def one_in(number: int) -> st.SearchStrategy[bool]:
    """True once in so many cases."""
    return st.integers(1, number).map(lambda drawn: drawn == number)


def network(app_id: int, uuid: str, name: str, *, old: bool = False, **config: Any) -> Network:
    """A network of an app; ``old`` as supervisors before v13 made them: the app id as prefix and no label."""
    own = {} if old else {labels.APP_ID: str(app_id)}
    return Network(
        app_id=app_id,
        app_uuid="" if old else uuid,
        name=name,
        engine_name=f"{app_id if old else uuid}_{name}",
        config=NetworkConfig(labels=own, **config),
    )


@cache
@st.composite
def services(draw: st.DrawFn, app_id: int, uuid: str, name: str, commit: str) -> Service:
    """A service as a target has it, before its image is looked up."""
    image = draw(one_of(*IMAGES))
    own = {"io.balena.service-name": name}
    if draw(one_in(2)):
        own[STRATEGY] = draw(one_of(*STRATEGIES))
    api = draw(one_in(5))
    if api:
        own[SUPERVISOR_API] = "1"
    others = tuple(other for other in NAMES if other != name)
    shared = draw(one_of(*others)) if draw(one_in(6)) else ""
    mode, networks = f"service:{shared}", {}
    if not shared:
        names = draw(some(NETWORKS)) or ["default"]
        networks = {f"{uuid}_{entry}": Endpoint(aliases=(name,)) for entry in names}
        mode = next(iter(networks))
        if draw(one_in(5)):
            mode, networks = "host", {}
        elif api:
            networks[SUPERVISOR_NETWORK] = Endpoint()
    config = ServiceConfig(
        image=image,
        network_mode=mode,
        networks=networks,
        volumes=tuple(f"{app_id}_{volume}:/{volume}" for volume in draw(some(VOLUMES))),
        environment=dict(draw(one_of((), (("A", "1"),), (("A", "2"),)))),
        labels=own,
    )
    return Service(
        app_id=app_id,
        app_uuid=uuid,
        app_name=f"app{app_id}",
        service_id=ord(name),
        service_name=name,
        image_id=5,
        release_id=int(commit[1:]),
        commit=commit,
        image_name=image,
        docker_image_id=None,
        running=not draw(one_in(4)),
        depends_on={
            **{other: draw(one_of(STARTED, STARTED, HEALTHY, COMPLETED)) for other in draw(some(others))},
            **({shared: STARTED} if shared else {}),
        },
        config=config,
    )


@cache
@st.composite
def target_apps(draw: st.DrawFn, app_id: int) -> ComposedApp:
    uuid, commit = draw(one_of(*APPS[app_id])), draw(one_of(*COMMITS))
    app = ComposedApp(app_id=app_id, app_uuid=uuid, name=f"app{app_id}", commit=commit, release_id=int(commit[1:]))
    if draw(one_in(12)):
        return msgspec.structs.replace(app, rejected=True)
    if draw(one_in(12)):
        return msgspec.structs.replace(app, problem="cannot build the app")
    names = [name for name in NAMES if draw(one_in(2))]
    return msgspec.structs.replace(
        app,
        services=tuple(draw(services(app_id, uuid, name, commit)) for name in names),
        networks=tuple(network(app_id, uuid, name, internal=draw(one_in(4))) for name in NETWORKS),
        volumes=tuple(draw(volumes(app_id, name)) for name in VOLUMES),
    )


@st.composite
def _targets(draw: st.DrawFn) -> list[ComposedApp]:
    return [draw(target_apps(app_id)) for app_id in APPS if not draw(one_in(3))]


@cache
@st.composite
def volumes(draw: st.DrawFn, app_id: int, name: str) -> Volume:
    config = VolumeConfig(driver=draw(one_of("local", "local", "nfs")))
    return Volume(app_id=app_id, name=name, config=config)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A start and two targets, one after the other. Much of the start is already as one of them wants it."""

    start: Situation
    target: list[ComposedApp]
    later: list[ComposedApp]
    rules: Rules
    #: for the order in which steps end, and what goes wrong
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    target, later = draw(_targets()), draw(_targets())
    start = draw(_situations(target, later, calm=draw(one_in(2))))
    kept = [ref for ref in sorted(refs(later), key=str) if draw(one_in(4))]  # of releases that may have to come back
    rules = Rules(keep_images=draw(one_in(2)), keep_volumes=draw(one_in(2)), kept=frozenset(kept))
    return Case(start=start, target=target, later=later, rules=rules, seed=draw(_seeds))


@st.composite
def _situations(
    draw: st.DrawFn, target: Sequence[ComposedApp], later: Sequence[ComposedApp], *, calm: bool
) -> Situation:
    """A state; a calm one has what the target wants and little else."""
    apps = target if calm else [*later, *target]
    wanted = tuple(service for app in apps for service in app.services)
    if calm:
        containers = [draw(_containers(service)) for service in wanted if not draw(one_in(4))]
    else:
        containers = [draw(_containers(_maybe(draw, wanted))) for _ in range(draw(one_of(*range(8))))]
    networks = [_or_changed(draw, one, internal=True) for app in apps for one in app.networks if not draw(one_in(4))]
    found = [_or_changed(draw, one, driver="other") for app in apps for one in app.volumes if not draw(one_in(4))]
    containers = [
        msgspec.structs.replace(_with_shared_network(c, containers, draw), container_id=f"{number:02d}".ljust(64, "c"))
        for number, c in enumerate(containers)
    ]
    tasks = [
        ContainerTask(app_id=c.app_id, service_name=c.service_name, status="Stopping", container_id=c.container_id)
        for c in containers
        if draw(one_in(10))
    ]
    world = World(
        containers=tuple(containers),
        tasks=tuple(tasks),
        networks=(*{one.engine_name: one for one in networks}.values(), *([] if calm else draw(_other_networks))),
        volumes=tuple({one.engine_name: one for one in found + ([] if calm else draw(_other_volumes))}.values()),
        images=draw(_images(tuple(image_of(service) for service in wanted))),
        commits=draw(st.dictionaries(st.sampled_from(list(APPS)), st.sampled_from(COMMITS))),
        locks={app_id: frozenset(draw(some(NAMES, 4))) for app_id in draw(some(tuple(APPS)))},
        supervisor_network_ready=not draw(one_in(4)),
    )
    exited = [c.container_id for c in containers if c.status == "exited"]
    subjects = [f"service:{c.app_id}:{c.service_name}" for c in containers] + ["network:7:front", "volume:8:data"]
    return Situation(
        world=world,
        stopped=frozenset(container_id for container_id in exited if draw(one_in(2))),
        busy=frozenset(draw(some((*subjects, "image:red:1", "service:9:a", "network:supervisor0")))),
    )


def seen_images(engine: dict[str, str], rows: Sequence[ImageRow], wanted: Sequence[str]) -> ImageState:
    """What the images actor says of an engine with these names, of the rows, and of the names of the target."""
    ids = set(engine.values())

    def id_of(name: str) -> str | None:
        named = [found for other, found in engine.items() if same_image(other, name)]
        known = [row.docker_image_id for row in rows if same_image(row.ref.name, name) and row.docker_image_id in ids]
        return next(iter([*named, *known]), None)

    names = dict.fromkeys((*wanted, *(row.ref.name for row in rows)))
    found = {name: id_of(name) for name in names}
    return ImageState(
        rows=tuple(rows),
        available=tuple(row for row in rows if row.docker_image_id in ids or found[row.ref.name]),
        details={name: ImageDetails(id=image) for name, image in found.items() if image},
    )


@st.composite
def _images(draw: st.DrawFn, wanted: Sequence[ImageRef]) -> ImageState:
    engine = {name: image for name, image in IMAGES.items() if not draw(one_in(4))}
    rows: list[ImageRow] = []
    for number in range(draw(one_of(*range(9)))):
        ref = _maybe(draw, wanted)
        if ref is not None:
            rows.append(ImageRow(id=number + 1, ref=ref, docker_image_id=IMAGES[ref.name]))
            continue
        name = draw(one_of(*IMAGES, "grey:1"))
        commit, app_id = draw(one_of(*COMMITS)), draw(one_of(*APPS))
        ref = ImageRef(
            name=name,
            app_id=app_id,
            app_uuid=APPS[app_id][0],
            service_id=5,
            service_name=draw(one_of(*NAMES)),
            image_id=5,
            release_id=int(commit[1:]),
            commit=commit,
        )
        known = draw(one_of(None, "sha256:gone", IMAGES.get(name), IMAGES.get(name)))
        rows.append(ImageRow(id=number + 1, ref=ref, docker_image_id=known))
    twice: bool = draw(one_in(2))
    if rows and twice:
        rows.append(msgspec.structs.replace(rows[0], id=len(rows) + 1))
    state = seen_images(engine, rows, list(IMAGES))
    tasks = [ImageTask(ref=row.ref, status="Downloading", progress=1) for row in rows[:1] if draw(one_in(2))]
    return msgspec.structs.replace(state, cleanup=tuple(draw(some(("sha256:dangling",)))), tasks=tuple(tasks))


@st.composite
def _containers(draw: st.DrawFn, of: Service | None) -> Container:
    """A container of a service of a target, or of anything else."""
    if of is not None:
        commit = draw(one_of(of.commit, *COMMITS))
        of = msgspec.structs.replace(of, commit=commit, release_id=int(commit[1:]))
    else:
        app_id = draw(one_of(*APPS))
        uuid, commit = draw(one_of(*APPS[app_id])), draw(one_of(*COMMITS))
        of = draw(services(app_id, uuid, draw(one_of(*NAMES)), commit))
    image = "sha256:foreign" if draw(one_in(10)) else IMAGES[of.image_name]
    marks = {LEGACY_CONTAINER: "1", labels.SERVICE_ID: "1"} if draw(one_in(10)) else {}
    return worlds.container(
        of,
        container_id="",
        status=draw(one_of(*STATUSES)),
        created_at=f"2026-01-01T00:00:0{draw(one_of(*range(10)))}.000Z",
        exit_error=draw(one_of("", "", "", LATE_ADDRESS)),
        exit_code=draw(one_of(0, 0, 1)),
        health=draw(one_of("", "", "healthy", "starting", "unhealthy")),
        docker_image_id=image,
        config=msgspec.structs.replace(of.config, image=image, labels={**of.config.labels, **marks}),
    )


def _with_shared_network(container: Container, others: Sequence[Container], draw: st.DrawFn) -> Container:
    """``service:x`` as the engine has it: the id of a container that is there, or not any more."""
    if not container.config.network_mode.startswith("service:"):
        return container
    other = draw(one_of(*range(len(others) + 1)))
    config = msgspec.structs.replace(container.config, network_mode="container:" + f"{other:02d}".ljust(64, "c"))
    return msgspec.structs.replace(container, config=config)


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    app_id = draw(one_of(*APPS))
    uuid, name = draw(one_of(*APPS[app_id])), draw(one_of(*NETWORKS, "past"))
    made = network(app_id, uuid, name, old=draw(one_in(6)), internal=draw(one_in(2)))
    return msgspec.structs.replace(made, engine_id=draw(one_of("x", "y", "z")))


def _or_changed(draw: st.DrawFn, resource: R, **config: Any) -> R:
    """A network or volume as it is wanted, or now and then with another setting."""
    if not draw(one_in(5)):
        return resource
    return msgspec.structs.replace(resource, config=msgspec.structs.replace(resource.config, **config))


def _maybe(draw: st.DrawFn, of: Sequence[T]) -> T | None:
    """One of them, or as often none."""
    place: int = draw(one_of(*range(-len(of), len(of)), -1))
    return of[place] if place >= 0 else None


@st.composite
def _any_volumes(draw: st.DrawFn) -> Volume:
    made: Volume = draw(volumes(draw(one_of(*APPS)), draw(one_of(*VOLUMES, "past"))))
    return made


_other_networks = st.lists(_networks(), max_size=2)
_other_volumes = st.lists(_any_volumes(), max_size=2)


def wanted_names(target: Sequence[ComposedApp]) -> list[str]:
    return [service.image_name for app in target for service in app.services]


def refs(target: Sequence[ComposedApp]) -> set[ImageRef]:
    return {image_of(service) for app in target for service in app.services}
