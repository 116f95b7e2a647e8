"""An answer to every "why": what each app and service is, what it should be, and what it waits for. Pure.

``GET /v2/state/why`` (ours, not of the reference). Every function takes the planner's snapshot and gives builtins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from balena_supervisor.model.service import STARTED, ServiceExit
from balena_supervisor.model.state import (
    ActionSummary,
    AppSummary,
    ContainerSummary,
    Decision,
    DeviceState,
    LockSummary,
    ServiceSummary,
    Waiting,
)
from balena_supervisor.state.answers import in_milliseconds
from balena_supervisor.state.subjects import DEVICE

Json = dict[str, Any]
Covers = Callable[[int], bool]
#: how many of the last decisions are shown for each service, and for each app beside those of its services
DECISIONS = 5


class Now(msgspec.Struct, frozen=True):
    """The moment of the answer on both clocks."""

    wall: datetime
    monotonic: float


def why(state: DeviceState, covers: Covers, now: Now, *, applying: bool, target_version: int) -> Json:
    """The whole answer, as far as the caller's key covers it."""
    apps = [_app(app, state, now) for app in state.apps if covers(app.app_id)]
    apps += [_app(_gone(app_id), state, now) for app_id in _leftovers(state) if covers(app_id)]
    answer: Json = {
        "status": "success",
        "appState": "applying" if applying or state.applying else "applied",
        "targetVersion": max(target_version, state.target_version),
        "engine": {"up": state.engine.up, **({} if state.engine.up else {"reason": state.engine.reason})},
        "waitsFor": [_waiting(w, now) for w in state.waiting if w.app_id == DEVICE and covers(DEVICE)],
        "apps": apps,
        "orders": [_action(action) for action in state.actions if covers(action.app_id)],
    }
    error = state.last_error if covers(DEVICE) else None
    answer["lastError"] = {"code": error.code, "message": error.message} if error else None
    return answer


def _leftovers(state: DeviceState) -> list[int]:
    """The apps that left the target, and of which there is still something."""
    there: tuple[ContainerSummary | Waiting | LockSummary, ...] = (*state.containers, *state.waiting, *state.locks)
    known = {DEVICE, *(app.app_id for app in state.apps)}
    return [app_id for app_id in dict.fromkeys(entry.app_id for entry in there) if app_id not in known]


def _gone(app_id: int) -> AppSummary:
    return AppSummary(
        app_id=app_id, app_uuid="", name="", commit=None, current_commit=None, release_id=None,
        problem="the app is not in the target and is removed",
    )  # fmt: skip


def _app(app: AppSummary, state: DeviceState, now: Now) -> Json:
    containers = [c for c in state.containers if c.app_id == app.app_id]
    wanted = app.put_back or app
    targets = {service.service_name: service for service in wanted.services}
    names = dict.fromkeys([*targets, *(c.service_name for c in containers)])

    def of_no_service(entry: Decision | Waiting) -> bool:
        return entry.app_id == app.app_id and entry.service_name not in names

    answer: Json = {
        "appId": app.app_id,
        "name": app.name,
        "release": app.current_commit,
        "targetRelease": app.commit,
        "waitsFor": [_waiting(wait, now) for wait in state.waiting if of_no_service(wait)],
        "locks": [_lock(lock, now) for lock in state.locks if lock.app_id == app.app_id],
        "services": {name: _service(name, targets.get(name), wanted, state, now) for name in names},
        "decisions": _decisions(filter(of_no_service, state.decisions)),
    }
    if app.rejected:
        answer["rejected"] = True
    for key, text in (("problem", app.problem), ("badRelease", app.bad_release), ("trial", app.trial)):
        if text:
            answer[key] = text
    return answer


def _service(name: str, target: ServiceSummary | None, app: AppSummary, state: DeviceState, now: Now) -> Json:
    # several services may wait for one image, which is pulled for one of them
    image = f"image:{target.image_name}" if target is not None else ""

    def mine(entry: ContainerSummary | Decision | Waiting | ServiceExit) -> bool:
        return entry.app_id == app.app_id and entry.service_name == name

    return {
        "now": [_container(c) for c in state.containers if mine(c)] or _image(name, app, state),
        "shouldBe": _should_be(target, app),
        "differs": list(target.differs) if target is not None else [],
        "waitsFor": [_waiting(wait, now) for wait in state.waiting if mine(wait) or wait.subject == image],
        "exits": [_exit(one) for one in state.exits if mine(one)],
        "decisions": _decisions(filter(mine, state.decisions)),
    }


def _container(container: ContainerSummary) -> Json:
    answer: Json = {"status": container.status, "release": container.commit}
    if container.container_id:
        answer["containerId"] = container.container_id
    if container.started_at and not container.started_at.startswith("0001"):
        answer["startedAt"] = in_milliseconds(container.started_at)
    if container.health:
        answer["health"] = container.health
    if container.status == "exited":
        answer["exitCode"] = container.exit_code
    return answer


def _image(name: str, app: AppSummary, state: DeviceState) -> list[Json]:
    """Without a container: how far its image is."""
    mine = [image for image in state.images if (image.app_id, image.service_name) == (app.app_id, name)]
    return [
        {"status": image.status, "image": image.name, "release": image.commit, "downloadProgress": image.progress}
        for image in mine
        if image.status == "Downloading"
    ]


def _should_be(target: ServiceSummary | None, app: AppSummary) -> Json:
    if target is None:
        return {"present": False}
    answer: Json = {
        "present": True,
        "running": target.running and not target.stopped_by_user,
        "image": target.image_name,
        "release": app.commit,
    }
    if target.stopped_by_user:
        answer["stoppedByUser"] = True
    if target.strategy:
        answer["strategy"] = target.strategy
    if target.depends_on:
        answer["dependsOn"] = {name: condition or STARTED for name, condition in target.depends_on.items()}
    return answer


def _waiting(wait: Waiting, now: Now) -> Json:
    answer: Json = {"subject": wait.subject, "reason": wait.reason}
    if wait.retry_at is not None:
        answer["retryInSeconds"] = round(max(0.0, wait.retry_at - now.monotonic), 1)
    return answer


def _lock(lock: LockSummary, now: Now) -> Json:
    answer: Json = {"serviceName": lock.service_name, "holder": lock.holder}
    if lock.path:
        answer["path"] = lock.path
    if lock.since:
        answer["since"] = lock.since
        answer["ageSeconds"] = _age_s(lock.since, now)
    return answer


def _age_s(since: str, now: Now) -> int | None:
    """None for a time that cannot be read; a clock that was set back makes nothing younger than it is."""
    try:
        return max(0, round((now.wall - datetime.fromisoformat(since)).total_seconds()))
    except (ValueError, TypeError):
        return None


def _exit(one: ServiceExit) -> Json:
    answer: Json = {"at": in_milliseconds(one.at), "exitCode": one.exit_code}
    if one.out_of_memory:
        answer["outOfMemory"] = True
    if one.asked:
        answer["asked"] = True
    return answer


def _decisions(decisions: Iterable[Decision]) -> list[Json]:
    """The last ones."""
    return [_decision(decision) for decision in list(decisions)[-DECISIONS:]]


def _decision(decision: Decision) -> Json:
    answer: Json = {
        "at": decision.at,
        "step": decision.step,
        "reason": decision.reason,
        "outcome": decision.outcome,
    }
    return {**answer, "error": decision.error} if decision.error else answer


def _action(action: ActionSummary) -> Json:
    answer: Json = {"number": action.number, "at": action.at, "verb": action.verb, "outcome": action.outcome}
    if action.app_id:
        answer["appId"] = action.app_id
    if action.service_name:
        answer["serviceName"] = action.service_name
    return {**answer, "error": action.error} if action.error else answer
