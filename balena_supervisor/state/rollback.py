"""Whether a new release proves itself, or the one before it has to come back. Pure.

Off unless a service has the label ``io.balena.update.rollback`` (seconds) or the configuration of the target has
``SUPERVISOR_ROLLBACK``. Times are monotonic seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.service import Container, Service
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.coerce import to_int
from balena_supervisor.state.compose_notes import Notes, pairs
from balena_supervisor.state.config_names import ROLLBACK
from balena_supervisor.state.labels import rewritten
from balena_supervisor.state.world import is_running, newest_first

LABEL: Final = "io.balena.update.rollback"
#: how long the services of a release may take to start, at least
STARTING_S: Final = 60.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A release that is being tried. ``begun_at`` is when all its images were there and its first container came, later
    by all the time that did not count; ``starts`` the container and start of each service when all had been started,
    and ``healthy_at`` when none of them was found to be starting any more."""

    commit: str
    begun_at: float
    looked_at: float
    #: whether the time since the last look does not count
    paused: bool = False
    starts: dict[str, tuple[str, str]] | None = None
    healthy_at: float | None = None


class Open(msgspec.Struct, frozen=True):
    """What an app still waits for before its services are all started. ``counts``: it speaks against the release,
    unlike a lock of a user, or an old container that takes its time to stop."""

    reason: str
    counts: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` says why the release is bad. Neither passed nor failed: it is tried further because of ``waiting``,
    and to be looked at again at ``until``; None when only something that happens can change that."""

    trial: Trial
    passed: bool = False
    failed: str = ""
    waiting: str = ""
    until: float | None = None


def rollback_s(app: TargetApp, config: Mapping[str, str]) -> float:
    """How long a release of this app has to prove itself; 0 when nothing is rolled back."""
    labels = [to_int(_labels(one).get(LABEL), positive=True) or 0 for one in app.services]
    return float(max(labels, default=0) or to_int(config.get(ROLLBACK), positive=True) or 0)


def _labels(service: TargetService) -> Mapping[str, str]:
    """Those of its definition: what images say is not known when the target comes."""
    own = pairs("labels", service.composition.get("labels") or {}, Notes(), bare="")
    return rewritten({**own, **service.labels})


def definition(app: TargetApp) -> str:
    """A text that differs when anything of the release differs."""
    bare = msgspec.structs.replace(app, rejected=False, rejection="", source="")
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()


def images_of(app: TargetApp) -> frozenset[ImageRef]:
    """The rows that the images of a release have."""
    return frozenset(
        ImageRef(
            name=service.image,
            app_id=service.app_id,
            app_uuid=service.app_uuid,
            service_id=service.service_id,
            service_name=service.service_name,
            image_id=service.image_id,
            release_id=service.release_id,
            commit=service.commit,
        )
        for service in app.services
    )


def begin(app: ComposedApp, containers: Iterable[Container], now: float, *, locked: bool) -> Trial | None:
    """A trial begins when the first container is touched: its locks are taken, or one of the release is there."""
    if app.commit is None or any(service.docker_image_id is None for service in app.services):
        return None
    if locked or any(container.commit == app.commit for container in containers):
        return begun(app.commit, now)
    return None


def begun(commit: str, now: float) -> Trial:
    return Trial(commit=commit, begun_at=now, looked_at=now)


def judge(  # noqa: PLR0917  # all that a verdict looks at
    trial: Trial, app: ComposedApp, containers: Iterable[Container], seconds: float, now: float, still: Open | None
) -> Verdict:
    """Go on with a trial. ``still`` is what is open yet; None when the services are all started."""
    newest: dict[str, Container] = {}
    for container in newest_first(containers):
        newest.setdefault(container.service_name, container)
    if any(service.docker_image_id is None for service in app.services):
        # the strategy lets an image come after the old container has gone: that is not the release's fault
        return Verdict(trial=begun(trial.commit, now), waiting="its images are not all there")
    # the engine ends this by itself: each health check has a time limit and a number of tries
    starting = sorted(name for name, one in newest.items() if one.health == "starting" and is_running(one))
    if trial.starts is None and still is not None:
        return _not_started(trial, seconds, now, Open(still.reason, still.counts and not starting))
    if trial.starts is None:
        starts = {name: (one.container_id, one.started_at) for name, one in newest.items()}
        trial = msgspec.structs.replace(trial, starts=starts)
    for service in app.services:
        fault = _fault(service, newest.get(service.service_name), trial.starts or {})
        if fault:
            return Verdict(trial=trial, failed=fault)
    if starting:
        trial = msgspec.structs.replace(trial, healthy_at=None)
        return Verdict(trial=trial, waiting=f"{starting[0]} is not healthy yet")
    healthy_at = now if trial.healthy_at is None else trial.healthy_at
    trial = msgspec.structs.replace(trial, healthy_at=healthy_at)
    if now < healthy_at + seconds:
        return Verdict(trial=trial, waiting="all its services are well so far", until=healthy_at + seconds)
    return Verdict(trial=trial, passed=True)


def _not_started(trial: Trial, seconds: float, now: float, still: Open) -> Verdict:
    begun_at = trial.begun_at + (now - trial.looked_at if trial.paused else 0.0)
    trial = msgspec.structs.replace(trial, begun_at=begun_at, looked_at=now, paused=not still.counts)
    limit_s = max(seconds, STARTING_S)
    if trial.paused or now < begun_at + limit_s:
        return Verdict(trial=trial, waiting=still.reason, until=None if trial.paused else begun_at + limit_s)
    return Verdict(trial=trial, failed=f"its services were not started after {limit_s:.0f} s: {still.reason}")


def _fault(service: Service, container: Container | None, starts: Mapping[str, tuple[str, str]]) -> str:
    """What is wrong with a service that had been started."""
    name = service.service_name
    if not service.running:
        return ""
    if container is None:
        return f"the container of {name} is gone"
    once = container.config.restart in {"", "no", "on-failure"}
    if once and container.status == "exited" and container.exit_code == 0:
        return ""
    if container.status == "restarting" or not is_running(container):
        return f"{name} has ended with exit code {container.exit_code}"
    if starts.get(name) != (container.container_id, container.started_at):
        return f"{name} has ended and was started again"
    return f"{name} is unhealthy" if container.health == "unhealthy" else ""
