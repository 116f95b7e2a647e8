"""What the runtime does, for people who develop the supervisor. Needs a key for the whole device (free in local mode).

Bodies of messages come with their secrets masked from root.
"""

from __future__ import annotations

from typing import Any

import falcon

from balena_supervisor.errors import RemoteError
from balena_supervisor.http.answer import Refused, failed, json_answer
from balena_supervisor.http.api import Api
from balena_supervisor.http.debug_orders import OneOrder, Orders
from balena_supervisor.http.debug_page import DebugPage
from balena_supervisor.http.snapshots import Picture
from balena_supervisor.runtime.message import Request
from balena_supervisor.runtime.views import (
    ListActors,
    ListDeadLetters,
    RestartActor,
    ShowMailbox,
    ShowStack,
    ShowTrace,
)
from balena_supervisor.state.coerce import to_int


def add_routes(app: falcon.App[falcon.Request, falcon.Response], api: Api) -> None:
    app.add_route("/debug", DebugPage())
    app.add_route("/debug/actors", Actors(api))
    app.add_route("/debug/actors/{name}/mailbox", Mailbox(api))
    app.add_route("/debug/actors/{name}/stack", Stack(api))
    app.add_route("/debug/actors/{name}/restart", Restart(api))
    app.add_route("/debug/dead-letters", DeadLetters(api))
    app.add_route("/debug/orders", Orders(api))
    app.add_route("/debug/orders/{number:int}", OneOrder(api))
    app.add_route("/debug/trace", Trace(api))
    app.add_route("/debug/capabilities", Capabilities(api))


class View:
    """Base of the routes that root answers."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def show(self, req: falcon.Request, resp: falcon.Response, question: Request[Any]) -> None:
        req.context.caller.need_global()
        try:
            view = self._api.ask("root", question)
        except RemoteError as error:
            if error.code == "not-found":
                raise Refused(failed(404, error.message)) from error
            raise
        json_answer({"status": "success", "message": "OK"} if view is None else view).send(resp)


class Actors(View):
    """With ``memory=0`` without measuring memory, which takes longer than all the rest."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        memory = req.params.get("memory", "1")
        if memory not in {"0", "1"}:
            raise Refused(failed(400, "cannot show the actors: memory: must be 0 or 1"))
        self.show(req, resp, ListActors(memory=memory == "1"))


class Mailbox(View):
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        self.show(req, resp, ShowMailbox(name=name))


class Stack(View):
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        self.show(req, resp, ShowStack(name=name))


class Restart(View):
    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        self.show(req, resp, RestartActor(name=name))


class DeadLetters(View):
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.show(req, resp, ListDeadLetters())


class Trace(View):
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        after = to_int(req.params.get("after", "0"))
        if after is None:
            raise Refused(failed(400, "cannot show the trace: after: must be a number"))
        self.show(req, resp, ShowTrace(after=after))


class Capabilities(View):
    """What was found of the host; ``problem`` says why something is missing."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.caller.need_global()
        picture: Picture = req.context.picture
        configuration = picture.need_configuration()
        engine = picture.state.engine if picture.state else None
        found: dict[str, Any] = {
            "version": self._api.version,
            "managed": configuration.managed,
            "local_mode": configuration.local_mode,
            "engine": {
                "up": bool(engine and engine.up),
                "problem": ""
                if engine and engine.up
                else (engine.reason if engine else "the planner has not reported"),
            },
            "device_type": {
                "name": configuration.device_type,
                "arch": configuration.device_arch,
                "problem": configuration.device_type_problem,
            },
            "host_os": {"version": configuration.os_version, "variant": configuration.os_variant},
        }
        json_answer(found).send(resp)
