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
    """A release that is being tried. ``begun_at`` is when all its images were there and its first container came;
    ``settled_at`` when all services had been started, and ``starts`` the container and start of each then."""

    commit: str
    begun_at: float
    settled_at: float | None = None
    starts: dict[str, tuple[str, str]] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` says why the release is bad. Neither passed nor failed: it is tried further, at the latest until
    ``until``."""

    trial: Trial
    passed: bool = False
    failed: str = ""
    until: float = 0.0


def rollback_s(app: ComposedApp, config: Mapping[str, str]) -> float:
    """How long a release of this app has to prove itself; 0 when nothing is rolled back."""
    labels = [to_int(service.config.labels.get(LABEL), positive=True) or 0 for service in app.services]
    seconds = max(labels, default=0) or to_int(config.get(ROLLBACK), positive=True) or 0
    return float(seconds)


def may_roll_back(app: TargetApp, config: Mapping[str, str]) -> bool:
    """Whether a release has to prove itself, as far as its definition tells: labels of its images are not known yet."""
    return bool(to_int(config.get(ROLLBACK), positive=True)) or any(LABEL in _labels(one) for one in app.services)


def _labels(service: TargetService) -> Mapping[str, str]:
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
        return Trial(commit=app.commit, begun_at=now)
    return None


def judge(  # noqa: PLR0917  # all that a verdict looks at
    trial: Trial, app: ComposedApp, containers: Iterable[Container], seconds: float, now: float, open_reason: str | None
) -> Verdict:
    """Go on with a trial. ``open_reason`` is what the app still waits for; None when its services are all started."""
    newest: dict[str, Container] = {}
    for container in newest_first(containers):
        newest.setdefault(container.service_name, container)
    if any(service.docker_image_id is None for service in app.services):
        # the strategy lets an image come after the old container has gone: that is not the release's fault
        return Verdict(trial=msgspec.structs.replace(trial, begun_at=now), until=now + max(seconds, STARTING_S))
    if trial.settled_at is None and open_reason is not None:
        until = trial.begun_at + max(seconds, STARTING_S)
        if now < until:
            return Verdict(trial=trial, until=until)
        spent_s = until - trial.begun_at
        return Verdict(trial=trial, failed=f"its services were not started after {spent_s:.0f} s: {open_reason}")
    if trial.settled_at is None:
        starts = {name: (one.container_id, one.started_at) for name, one in newest.items()}
        trial = msgspec.structs.replace(trial, settled_at=now, starts=starts)
    for service in app.services:
        fault = _fault(service, newest.get(service.service_name), trial)
        if fault:
            return Verdict(trial=trial, failed=fault)
    until = (trial.settled_at or now) + seconds
    if now < until:
        return Verdict(trial=trial, until=until)
    for service in app.services:
        late = newest.get(service.service_name)
        if late is not None and late.health == "starting":
            return Verdict(trial=trial, failed=f"{service.service_name} was not healthy after {seconds:.0f} s")
    return Verdict(trial=trial, passed=True)


def _fault(service: Service, container: Container | None, trial: Trial) -> str:
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
    if trial.starts.get(name) != (container.container_id, container.started_at):
        return f"{name} has ended and was started again"
    return f"{name} is unhealthy" if container.health == "unhealthy" else ""
