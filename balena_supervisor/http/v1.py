"""``/ping`` and the v1 routes (spec device-api 3 to 5)."""

from __future__ import annotations

import falcon

from balena_supervisor.errors import SupervisorError
from balena_supervisor.http.answer import bare_status, text
from balena_supervisor.http.api import Api
from balena_supervisor.http.snapshots import Picture
from balena_supervisor.runtime.views import ActorsView, ListActors

OK = text("OK")
HEALTHY = bare_status(200)
UNHEALTHY = text("Unhealthy", 500)
_ILL = frozenset({"back-off", "hung", "stopped"})
#: how long it counts that root found all actors well, in seconds
_FRESH_S = 1.0


def add_routes(app: falcon.App[falcon.Request, falcon.Response], api: Api) -> None:
    app.add_route("/ping", Ping())
    app.add_route("/v1/healthy", Healthy(api))


class Ping:
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        OK.send(resp)


class Healthy:
    """Unhealthy is an actor that is down or hung, or an apply over its limit. A failing network, cloud or engine
    never counts (spec device-api, decision D13)."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._well_at: float | None = None

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        picture: Picture = req.context.picture
        picture.need_configuration()
        now = self._api.clock.monotonic()
        problems = apply_problems(picture, now)
        if self._well_at is None or now - self._well_at >= _FRESH_S:
            of_actors = self._ask_root()
            self._well_at = None if of_actors else now
            problems += of_actors
        if problems:
            self._api.log("error", "health", "the device is unhealthy", reason="; ".join(problems))
        (UNHEALTHY if problems else HEALTHY).send(resp)

    def _ask_root(self) -> list[str]:
        try:
            return actor_problems(self._api.ask("root", ListActors(memory=False)))
        except SupervisorError as error:
            return [f"root: {error.message}"]


def actor_problems(view: ActorsView) -> list[str]:
    """One text for each actor that is down or hung."""
    return [f"{actor.name}: {actor.state} {actor.problem}".rstrip() for actor in view.actors if actor.state in _ILL]


def apply_problems(picture: Picture, now: float) -> list[str]:
    """An attempt of an apply that takes twice the poll interval; a download or an unmanaged device is exempt, and so
    is waiting for a retry, since every attempt begins anew."""
    configuration, state = picture.need_configuration(), picture.state
    if not configuration.managed or state is None or not state.applying or state.attempt_started_at is None:
        return []
    if any(image.status == "Downloading" for image in state.images):
        return []
    limit_s = 2 * configuration.poll_interval_ms / 1000
    took_s = now - state.attempt_started_at
    return [f"planner: an apply has taken {took_s:.0f} s (limit {limit_s:.0f} s)"] if took_s >= limit_s else []
