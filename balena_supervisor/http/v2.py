"""The v2 routes (spec device-api 6 and 7)."""

from __future__ import annotations

from typing import Any

import falcon

from balena_supervisor.http.answer import Answer, Refused, failed, json_answer
from balena_supervisor.http.api import Api
from balena_supervisor.http.auth import Caller
from balena_supervisor.http.snapshots import Picture
from balena_supervisor.messages import GetComposedTarget, SetLocalTarget
from balena_supervisor.state.answers import applications_state, container_id, container_ids, state_status
from balena_supervisor.state.config_names import complete_config
from balena_supervisor.state.target_answer import local_target
from balena_supervisor.state.why import Now, why


def add_routes(app: falcon.App[falcon.Request, falcon.Response], api: Api) -> None:
    app.add_route("/v2/version", Version(api))
    app.add_route("/v2/local/target-state", LocalTarget(api))
    app.add_route("/v2/local/device-info", DeviceInfo())
    app.add_route("/v2/state/status", StateStatus())
    app.add_route("/v2/state/why", Why(api))
    app.add_route("/v2/applications/state", ApplicationsState())
    app.add_route("/v2/containerid", ContainerId())


class Version:
    def __init__(self, api: Api) -> None:
        self._answer = json_answer({"status": "success", "version": api.version})

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        self._answer.send(resp)


class LocalTarget:
    """The target of a device in local mode (spec device-api 7.1, 7.2)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        picture: Picture = req.context.picture
        configuration = picture.need_configuration()
        apps = self._api.ask("planner", GetComposedTarget())
        target = picture.target
        stored = target.config if target else {}
        is_set = target is not None and target.is_set
        config = complete_config(stored, not configuration.managed, target_set=is_set)
        name = target.name if target and target.is_set else configuration.name
        json_answer(local_target(name=name, config=config, apps=apps, source=configuration.source)).send(resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answers once the target is on disk; what follows from it shows in the next GET."""
        picture: Picture = req.context.picture
        configuration = picture.need_configuration()
        if configuration.managed and not configuration.local_mode:
            raise Refused(failed(400, "cannot set a local target: the device is not in local mode"))
        body: Any = req.context.body
        if not isinstance(body, dict) or not isinstance(body.get("local"), dict):
            raise Refused(failed(400, "cannot set a local target: local: must be an object"))
        accepted = self._api.ask("target-state", SetLocalTarget(body=body))
        snapshots = self._api.snapshots
        snapshots.accept(accepted.version)
        snapshots.wait_for(
            lambda now: now.target is not None and now.target.version >= accepted.version, self._api.settle_timeout_s
        )
        json_answer({"status": "success", "message": "OK"}).send(resp)


class DeviceInfo:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        configuration = req.context.picture.need_configuration()
        if configuration.device_type_problem:
            raise Refused(failed(500, f"cannot tell the device type: {configuration.device_type_problem}"))
        info = {"arch": configuration.device_arch, "deviceType": configuration.device_type}
        json_answer({"status": "success", "info": info}).send(resp)


class StateStatus:
    """Encoded once for each snapshot and key, since clients poll it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        picture: Picture = req.context.picture
        caller: Caller = req.context.caller
        state = picture.need_state()

        def make() -> Answer:
            return json_answer(
                state_status(
                    state,
                    caller.covers,
                    applying=picture.applying,
                    target_version=picture.target_version,
                    wall_time=picture.wall_time,
                )
            )

        picture.derived(("state-status", caller), make).send(resp)


class Why:
    """Of our own: for each app and service what it is, what it should be, and what it waits for."""

    def __init__(self, api: Api) -> None:
        self._clock = api.clock

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        picture: Picture = req.context.picture
        now = Now(self._clock.now(), self._clock.monotonic())
        answer = why(
            picture.need_state(),
            req.context.caller.covers,
            now,
            applying=picture.applying,
            target_version=picture.target_version,
        )
        json_answer(answer).send(resp)


class ApplicationsState:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        picture: Picture = req.context.picture
        caller: Caller = req.context.caller
        state = picture.need_state()

        def make() -> Answer:
            return json_answer(applications_state(state, picture.target, caller.covers))

        picture.derived(("applications-state", caller), make).send(resp)


class ContainerId:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        state = req.context.picture.need_state()
        covers = req.context.caller.covers
        name = _text(req, "serviceName") or _text(req, "service")
        if not name:
            json_answer({"status": "success", "services": container_ids(state, covers)}).send(resp)
            return
        found = container_id(state, covers, name)
        if found is None:
            raise Refused(failed(503, f"cannot find a container of service {name}"))
        json_answer({"status": "success", "containerId": found}).send(resp)


def _text(req: falcon.Request, name: str) -> str:
    value = req.params.get(name)
    return value if isinstance(value, str) else ""
