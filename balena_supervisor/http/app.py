"""The local API as one WSGI application, made from its ports (spec device-api)."""

from __future__ import annotations

import traceback
from typing import Any

import falcon

from balena_supervisor.errors import SupervisorError
from balena_supervisor.http import debug, v1, v2
from balena_supervisor.http.answer import Refused, failed, failure_of
from balena_supervisor.http.api import Api, Log
from balena_supervisor.http.middleware import Gate, HttpDetails, RequestLog, not_found, refused


def create_app(api: Api) -> falcon.App[falcon.Request, falcon.Response]:
    """The application. Needs no socket, no process and no actor, only what ``api`` holds."""
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App(
        middleware=[RequestLog(api), HttpDetails(), Gate(api.snapshots)]
    )
    errors = _Errors(api.log)
    app.add_error_handler(Exception, errors.unexpected)
    app.add_error_handler(SupervisorError, errors.failed)
    app.add_error_handler(falcon.HTTPError, not_found)
    app.add_error_handler(Refused, refused)
    for add_routes in (v1.add_routes, v2.add_routes, debug.add_routes):
        add_routes(app, api)
    return app


class _Errors:
    """Turns what a route raised into an answer; no request may hang or end the process."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def failed(
        self, req: falcon.Request, resp: falcon.Response, error: SupervisorError, _params: dict[str, Any]
    ) -> None:
        answer = failure_of(error)
        if answer.status >= 500:
            self._log("error", "api", _failed(req), reason=error.message, code=error.code)
        answer.send(resp)

    def unexpected(self, req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
        self._log("error", "api", _failed(req), traceback="".join(traceback.format_exception(error)))
        failed(503, "cannot answer: an internal error, see the log of the supervisor").send(resp)


def _failed(req: falcon.Request) -> str:
    method, path = req.context.said
    return f"{method} {path} failed"
